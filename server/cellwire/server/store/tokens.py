"""Tokens as bytes: one, two or four a token, as the largest of them needs.

Layout: the bytes a token (1 byte), then the tokens, little-endian.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from cellwire.server.store.record import Damaged

_WIDTHS: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
}
_NATIVE = np.dtype("=u4")


def token_width(tokens: array[int]) -> int:
    """Return how many bytes each of some tokens takes."""
    greatest = int(_numbers(tokens).max(initial=0))
    return 1 if greatest < 1 << 8 else 2 if greatest < 1 << 16 else 4


def pack_tokens(tokens: array[int]) -> bytes:
    """Return tokens as bytes."""
    width = token_width(tokens)
    return bytes((width,)) + _numbers(tokens).astype(_WIDTHS[width]).tobytes()


def unpack_tokens(packed: bytes) -> array[int]:
    """Return the tokens in some bytes; Damaged."""
    width = _WIDTHS.get(packed[0]) if packed else None
    if width is None or (len(packed) - 1) % width.itemsize:
        raise Damaged("its tokens are cut off")
    numbers = np.frombuffer(packed, width, offset=1)
    return array("I", numbers.astype(_NATIVE).tobytes())


def _numbers(tokens: array[int]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(tokens, _NATIVE) if tokens else np.zeros(0, _NATIVE)
