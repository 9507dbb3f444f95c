"""The refusal for each requirement of CUDA that is missing; the libraries are stand-ins."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pynvml
import pytest

from cellwire.server.errors import NoCuda
from cellwire.server.host import placement as placement_module
from cellwire.server.host.placement import Placement, place
from cellwire.server.runtime import compiled, cuda
from cellwire.server.runtime.device import CPU, Device

GIB = 2**30
PRELOAD = compiled.preload_cuda


@dataclass(frozen=True, slots=True)
class Memory:
    """As of nvmlDeviceGetMemoryInfo."""

    free: int
    total: int


class Nvml:
    """NVIDIA's management library on a machine with some cards; a handle is a card's name."""

    NVMLError = pynvml.NVMLError
    free_bytes = 6 * GIB

    def __init__(self, *names: str, driver: bool = True) -> None:
        self.names = names
        self.driver = driver

    def nvmlInit(self) -> None:  # noqa: N802  # the library's names
        if not self.driver:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlShutdown(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index >= len(self.names):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self.names[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return self.names[int(uuid.removeprefix("GPU-"))]

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Memory:  # noqa: N802
        return Memory(self.free_bytes, 8 * GIB)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make up a machine that lacks some libraries."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")

    def lacks(*missing: str, cards: tuple[str, ...] = ("A Card",)) -> None:
        def load(name: str) -> None:
            if any(name.startswith(f"lib{library}.") for library in missing):
                raise OSError(name)

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(cuda, "pynvml", Nvml(*cards, driver="cuda" not in missing))
        monkeypatch.setattr(compiled, "has_cuda", lambda: True)
        monkeypatch.setattr(compiled, "preload_cuda", lambda _: None)
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


@pytest.mark.parametrize("version", ["1.30.2", "1.9.0", "0.99", "1.4.1rc2"])
def test_an_onnxruntime_whose_graphs_are_wrong_is_refused(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    machine()
    monkeypatch.setattr(compiled, "VERSION", version)
    words = rf"onnxruntime {version} computes wrongly .* 1\.31 is the oldest that does not: pip"
    with pytest.raises(NoCuda, match=words):
        place("cuda", 0)


@pytest.mark.parametrize("version", ["1.31.0", "1.100", "2.0.1", "1.31.0.dev20261101"])
def test_later_ones_are_not(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    machine()
    monkeypatch.setattr(compiled, "VERSION", version)
    assert place("cuda", 0).device == Device("cuda", 0)


@pytest.fixture
def site_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The library folders of NVIDIA's packages in two site folders, neither onnxruntime's."""
    folders = [
        tmp_path / "one" / "nvidia" / "cu13" / "lib",
        tmp_path / "two" / "nvidia" / "cudnn" / "lib",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
    (tmp_path / "two" / "nvidia" / "cudnn" / "include").mkdir()
    for name in ("one", "two"):
        monkeypatch.syspath_prepend(tmp_path / name)
    return folders


def test_libraries_are_loaded_from_every_site_folder(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, site_folders: list[Path]
) -> None:
    machine()
    preloaded: list[str | None] = []

    class Ort:
        @staticmethod
        def preload_dlls(directory: str | None = None) -> None:
            preloaded.append(directory)

    monkeypatch.setattr(compiled, "ort", Ort)
    monkeypatch.setattr(compiled, "preload_cuda", PRELOAD)
    place("cuda", 0)
    assert preloaded == [*map(str, site_folders), None]


def test_the_refusal_says_where_a_library_was_looked_for(
    machine: Callable[..., None], site_folders: list[Path]
) -> None:
    machine("cudnn")
    with pytest.raises(NoCuda) as refused:
        place("cuda", 0)
    assert all(str(folder) in str(refused.value) for folder in site_folders)


def test_or_that_there_are_no_packages(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("cudnn")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NoCuda, match="looked for in no package of NVIDIA's, as none is installed"):
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


def test_a_driver_without_a_card_is_a_refusal(machine: Callable[..., None]) -> None:
    machine(cards=())
    with pytest.raises(NoCuda, match="the NVIDIA driver sees no GPU"):
        place("cuda", 0)


@pytest.mark.parametrize(
    ("visible", "number", "name"),
    [("1,0", 0, "The Second"), ("1,0", 1, "The First"), ("GPU-1", 0, "The Second")],
)
def test_cards_have_the_numbers_that_cuda_gives_them(
    machine: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    number: int,
    name: str,
) -> None:
    machine(cards=("The First", "The Second"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda.find_card(number).name == name
    with pytest.raises(NoCuda, match="there is no CUDA device 2"):
        cuda.find_card(2)


@pytest.mark.parametrize(
    ("visible", "words"),
    [("", "CUDA_VISIBLE_DEVICES is empty"), ("7", "cannot describe CUDA device 0")],
)
def test_hidden_cards_are_a_refusal(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, visible: str, words: str
) -> None:
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(NoCuda, match=words):
        place("cuda", 0)


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


def test_models_share_half_of_the_cards_memory_that_is_free_now(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    placement = place("cuda", 0)
    assert placement.slots(10**9, state_bytes=1024, models=1) == 3 * GIB // 1024
    assert placement.slots(50, state_bytes=1024, models=2) == 50
    monkeypatch.setattr(Nvml, "free_bytes", 2 * GIB)
    assert placement.slots(10**9, state_bytes=1024, models=2) == GIB // 2 // 1024
    monkeypatch.setattr(cuda, "pynvml", Nvml())
    with pytest.raises(ValueError, match="the NVIDIA driver sees no GPU"):
        placement.slots(50, state_bytes=1024, models=1)


def test_or_a_quarter_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_module, "free_memory_bytes", lambda: 8 * GIB)
    placement = Placement(CPU, "")
    assert placement.slots(29_186, state_bytes=7168, models=1) == 29_186
    assert placement.slots(29_186, state_bytes=2**21, models=1) == 1024
    assert placement.slots(29_186, state_bytes=2**21, models=2) == 512
    assert placement.slots(29_186, state_bytes=GIB, models=1) == 7  # those of one session
    with pytest.raises(ValueError, match=r"has 2,048\.0 MiB, and a session 7 of them; there are"):
        placement.slots(29_186, state_bytes=2 * GIB, models=1)
    monkeypatch.setattr(placement_module, "free_memory_bytes", lambda: None)
    assert placement.slots(29_186, state_bytes=2 * GIB, models=1) == 29_186
