"""Whether a CUDA card can be used, and what is missing if not.

ONNX Runtime lists its CUDA provider wherever its build has it, and falls back to the CPU without an
error. So the provider's requirements are checked here, one by one.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from cellwire.server.errors import NoCuda
from cellwire.server.runtime import compiled

_INSTALL = "pip install 'cellwire[gpu]'"

# Before, graphs read memory that had been given back after the capture: the sizes of unequal Splits
# (microsoft/onnxruntime#32121), the shape of GatherND (#32120), and what Gemm adds a bias with.
_OLDEST = 1, 31


@dataclass(frozen=True, slots=True)
class Card:
    """A CUDA card that ONNX Runtime can use."""

    number: int
    name: str
    free_bytes: int
    total_bytes: int


def find_card(number: int) -> Card:
    """Return the card that CUDA knows by a number; NoCuda says what is missing."""
    if not compiled.has_cuda():
        raise NoCuda(
            "this build of onnxruntime has no CUDA provider: there are such builds for Linux on "
            f"x86-64 and for Windows, from {_INSTALL}"
        )
    if _version() < _OLDEST:
        raise NoCuda(
            f"onnxruntime {compiled.VERSION} computes wrongly when it replays CUDA graphs (Split, "
            "GatherND and Gemm read memory that is no longer theirs); "
            f"{'.'.join(map(str, _OLDEST))} is the oldest that does not: {_INSTALL}"
        )
    # NVML's order. CUDA's own default, the fastest first, would give the cards other numbers.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    name, _, _ = _describe(number)
    folders = _library_folders()
    compiled.preload_cuda(folders)
    for library, words in _libraries():
        if not _loads(library):
            places = ", ".join(map(str, folders)) or "no package of NVIDIA's, as none is installed"
            raise NoCuda(
                f"{words} is missing ({library} cannot be loaded; it was looked for in {places}, "
                f"and where the system's libraries are): {_INSTALL}"
            )
    try:
        compiled.try_cuda(number)
    except ValueError as error:
        raise NoCuda(f"ONNX Runtime cannot use {name}: {error}") from error
    return Card(number, *_describe(number))  # with the memory that is free now


def free_bytes(number: int) -> int:
    """Return how much of a card's memory is free now; NoCuda if the driver does not say."""
    _, free, _ = _describe(number)
    return free


def _version() -> tuple[int, ...]:
    """Return the first two numbers of ONNX Runtime's version."""
    return tuple(map(int, re.findall(r"\d+", compiled.VERSION)[:2]))


def _library_folders() -> list[Path]:
    """Return the folders of libraries in NVIDIA's pip packages, in whichever site folders they are.

    ONNX Runtime itself looks only in the one that it is installed in.
    """
    spec = importlib.util.find_spec("nvidia")  # a namespace: each site folder may have a part
    roots = spec.submodule_search_locations if spec else None
    return sorted(folder for root in roots or () for folder in Path(root).glob("*/lib"))


def _libraries() -> list[tuple[str, str]]:
    """Return the provider's requirements beside the driver: file names, and words for them."""
    major = compiled.CUDA_MAJOR
    if sys.platform == "win32":
        return [(f"cublas64_{major}.dll", "cuBLAS"), ("cudnn64_9.dll", "cuDNN 9")]
    return [
        (f"libcudart.so.{major}", f"the CUDA {major} runtime"),
        (f"libcublasLt.so.{major}", f"cuBLAS for CUDA {major}"),
        (f"libcublas.so.{major}", f"cuBLAS for CUDA {major}"),
        ("libcurand.so.10", f"cuRAND for CUDA {major}"),
        ("libcudnn.so.9", "cuDNN 9"),
    ]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _describe(number: int) -> tuple[str, int, int]:
    """Return a card's name, and its free and total bytes; NoCuda if there is no such card."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoCuda(
            f"no NVIDIA driver was found ({error}): the machine has no NVIDIA GPU, or its driver "
            "is not installed"
        ) from error
    try:
        card = _card(number)
        memory = pynvml.nvmlDeviceGetMemoryInfo(card)
        return pynvml.nvmlDeviceGetName(card), memory.free, memory.total
    except pynvml.NVMLError as error:
        raise NoCuda(f"the NVIDIA driver cannot describe CUDA device {number}: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _card(number: int) -> Any:  # noqa: ANN401  # pynvml has no types
    """Return NVML's handle of a card; NoCuda, NVMLError."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        entries = [str(index) for index in range(pynvml.nvmlDeviceGetCount())]
    else:
        entries = [entry.strip() for entry in visible.split(",") if entry.strip()]
    if not entries:
        hidden = "" if visible is None else ": CUDA_VISIBLE_DEVICES is empty"
        raise NoCuda(f"the NVIDIA driver sees no GPU{hidden}")
    if number >= len(entries):
        numbers = f"0 to {len(entries) - 1}" if len(entries) > 1 else "0"
        raise NoCuda(f"there is no CUDA device {number}: this machine has device {numbers}")
    entry = entries[number]
    if entry.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(entry))
    return pynvml.nvmlDeviceGetHandleByUUID(entry)
