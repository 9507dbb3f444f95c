"""Whether a CUDA card can be used, and what is missing if not.

ONNX Runtime lists its CUDA provider wherever its build has it, and falls back to the CPU without
a word that a program could read. So what the provider needs is looked for here, piece by piece.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from cellwire.server.errors import NoCuda
from cellwire.server.runtime import compiled

_INSTALL = "pip install 'cellwire[gpu]'"
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Card:
    """A CUDA card that ONNX Runtime can use."""

    number: int
    name: str
    free_bytes: int
    total_bytes: int


def find_card(number: int) -> Card:
    """Return the card of that number; NoCuda says what is missing."""
    if not compiled.has_cuda():
        raise NoCuda(
            "this build of onnxruntime has no CUDA provider: there are such builds for Linux on "
            f"x86-64 and for Windows, from {_INSTALL}"
        )
    name = _name_of(number)
    compiled.preload_cuda()
    for library, what in _libraries():
        if not _loads(library):
            raise NoCuda(f"{what} is missing ({library} cannot be loaded): {_INSTALL}")
    try:
        compiled.try_cuda(number)
    except ValueError as error:
        raise NoCuda(f"ONNX Runtime cannot use {name}: {error}") from error
    free_bytes, total_bytes = _memory(number)
    return Card(number, name, free_bytes, total_bytes)


def _libraries() -> list[tuple[str, str]]:
    """Return what the provider needs beside the driver, as file names and words."""
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


def _name_of(number: int) -> str:
    """Ask the driver for a card's name; NoCuda if there is no driver, or no such card."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise NoCuda(
            f"no NVIDIA driver was found ({_DRIVER} cannot be loaded): the machine has no NVIDIA "
            "GPU, or its driver is not installed"
        ) from error
    count, card = ctypes.c_int(), ctypes.c_int()
    if status := driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        raise NoCuda(f"the NVIDIA driver sees no GPU (error {status})")
    if number >= count.value:
        last = f"0 to {count.value - 1}" if count.value > 1 else "0"
        raise NoCuda(f"there is no CUDA device {number}: this machine has device {last}")
    name = ctypes.create_string_buffer(100)
    driver.cuDeviceGet(ctypes.byref(card), number)
    driver.cuDeviceGetName(name, len(name), card)
    return name.value.decode()


def _memory(number: int) -> tuple[int, int]:
    """Return the free and the total bytes of a card."""
    major = compiled.CUDA_MAJOR
    windows = sys.platform == "win32"
    runtime = ctypes.CDLL(f"cudart64_{major}.dll" if windows else f"libcudart.so.{major}")
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if runtime.cudaSetDevice(number) or runtime.cudaMemGetInfo(
        ctypes.byref(free), ctypes.byref(total)
    ):
        raise NoCuda(f"the memory of CUDA device {number} cannot be asked for")
    return free.value, total.value
