"""What is said where CUDA cannot be used, piece by piece; the pieces themselves are made up."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Literal, Protocol

import pytest

from cellwire.server.errors import NoCuda
from cellwire.server.host.placement import Placement, place
from cellwire.server.runtime import compiled, cuda
from cellwire.server.runtime.cuda import Card
from cellwire.server.runtime.device import CPU, Device

GIB = 2**30


class Number(Protocol):
    value: int


class Reference(Protocol):
    """What `ctypes.byref` returns."""

    _obj: Number


class Buffer(Protocol):
    """What `ctypes.create_string_buffer` returns."""

    value: bytes


class Library:
    """A driver and a runtime that know of one card."""

    def cuInit(self, _: int) -> int:  # noqa: N802  # the driver's name
        return 0

    def cuDeviceGetCount(self, count: Reference) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, card: Reference, number: int) -> int:  # noqa: N802
        card._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Buffer, _length: int, _card: object) -> int:  # noqa: N802
        name.value = b"A Card"
        return 0

    def cudaSetDevice(self, _: int) -> int:  # noqa: N802
        return 0

    def cudaMemGetInfo(self, free: Reference, total: Reference) -> int:  # noqa: N802
        free._obj.value, total._obj.value = 6 * GIB, 8 * GIB
        return 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make up a machine that lacks some libraries."""

    def lacks(*missing: str) -> None:
        def load(name: str) -> Library:
            if any(name.startswith(f"lib{each}.") for each in missing):
                raise OSError(name)
            return Library()

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(compiled, "has_cuda", lambda: True)
        monkeypatch.setattr(compiled, "preload_cuda", lambda: None)
        monkeypatch.setattr(compiled, "try_cuda", lambda _: None)

    return lacks


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("cuda", "no NVIDIA driver was found"),
        ("cudart", "runtime is missing"),
        ("cublasLt", "cuBLAS for CUDA .* is missing"),
        ("cublas", "cuBLAS for CUDA .* is missing"),
        ("curand", "cuRAND"),
        ("cudnn", "cuDNN 9 is missing"),
    ],
)
def test_what_is_missing_is_named(machine: Callable[..., None], missing: str, words: str) -> None:
    machine(missing)
    with pytest.raises(NoCuda, match=words) as refused:
        place("cuda", 0)
    if missing != "cuda":
        assert "pip install 'cellwire[gpu]'" in str(refused.value)
    placement = place("auto", 0)
    assert placement.device == CPU
    assert placement.why == f"on the CPU: {refused.value}"


def test_a_build_without_cuda_says_so(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    monkeypatch.setattr(compiled, "has_cuda", lambda: False)
    with pytest.raises(NoCuda, match="this build of onnxruntime has no CUDA provider"):
        place("cuda", 0)


def test_a_session_that_does_not_get_the_provider_is_a_refusal(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise ValueError("its CUDA provider cannot be loaded")

    machine()
    monkeypatch.setattr(compiled, "try_cuda", refuse)
    with pytest.raises(NoCuda, match="ONNX Runtime cannot use A Card: its CUDA provider"):
        place("cuda", 0)


def test_a_card_of_another_number_is_refused(machine: Callable[..., None]) -> None:
    machine()
    with pytest.raises(NoCuda, match="there is no CUDA device 1: this machine has device 0"):
        place("cuda", 1)


@pytest.mark.parametrize("provider", ["cuda", "auto"])
def test_a_card_that_can_be_used_is_taken(
    machine: Callable[..., None], provider: Literal["cuda", "auto"]
) -> None:
    machine()
    placement = place(provider, 0)
    assert placement.device == Device("cuda", 0)
    assert placement.why == "on CUDA device 0: A Card, 6.0 of 8.0 GiB free"


def test_nobody_looks_for_a_card_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "find_card", None)
    assert place("cpu", 0).why == "on the CPU, as asked for"


def test_models_share_a_quarter_of_the_cards_free_memory() -> None:
    placement = Placement(Device("cuda"), "", Card(0, "A Card", 8 * GIB, 8 * GIB))
    assert placement.slots(10**9, state_bytes=1024, models=2) == GIB // 1024
    assert placement.slots(50, state_bytes=1024, models=2) == 50
    assert Placement(CPU, "").slots(10**9, state_bytes=1024, models=2) == 10**9
