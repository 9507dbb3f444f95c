"""Waiting for a card without the interpreter's lock.

ONNX Runtime's Python waits for a card with the lock held (`synchronize_outputs`), so no other
thread of the daemon would run meanwhile. CUDA's own library is therefore asked first, through
ctypes, which gives the lock up; ONNX Runtime then has nothing left to wait for.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from cellwire.server.runtime.compiled import CUDA_MAJOR


def wait_for_card() -> None:
    """Wait until the card of the calling thread has done all that it was given.

    It is the card that ONNX Runtime last used in this thread. Whether that worked is for ONNX
    Runtime to find, which waits again.
    """
    if library := _cuda():
        library.cudaDeviceSynchronize()


@functools.cache
def _cuda() -> Any:  # noqa: ANN401  # a library has no type
    """Return CUDA's runtime library, which the provider has loaded; None without one."""
    windows = sys.platform == "win32"
    name = f"cudart64_{CUDA_MAJOR}.dll" if windows else f"libcudart.so.{CUDA_MAJOR}"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
