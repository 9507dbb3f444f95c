"""Runs that are started and waited for, on the CPU, where a start does the work."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.server.program_runs import SLOTS, batch_of
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.step import StepBatch
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.runtime import card_wait
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.step_binding import StepBinding

MOST = 8


def batch(first_slot: int, rows: int = 3) -> StepBatch:
    """Rows that go on from some slots; of one size, however many."""
    slots = np.arange(first_slot, first_slot + rows)
    return batch_of(rows, token=slots % 5, read_slot=slots, write_slot=slots)


@pytest.fixture
def runtimes(tmp_path: Path) -> list[Runtime]:
    """One whose batches have any size, and one with fixed shapes."""
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(5)))
    ways = Execution(), Execution(fixed_shape=True)
    return [Runtime(cell, SLOTS, MOST, way) for way in ways]


def test_a_run_keeps_its_results_while_another_of_its_size_is_started(
    runtimes: list[Runtime],
) -> None:
    plain, fixed = runtimes
    assert not plain.overlaps
    assert not fixed.overlaps
    expected = [plain.step(batch(slot)) for slot in (2, 6, 2)]
    runs = [fixed.start(batch(slot)) for slot in (2, 6)]
    runs = [runs[0], runs[1], fixed.start(batch(2))]
    for run, result in zip(runs, expected, strict=True):
        found = run.wait()
        assert (found.chosen == result.chosen).all()
        assert (found.log_probability == result.log_probability).all()


def test_rows_are_padded_to_a_size(runtimes: list[Runtime]) -> None:
    assert [runtime.padded_rows(5) for runtime in runtimes] == [5, 8]


class Failing:
    """Lets bindings fail while they are waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        monkeypatch.setattr(StepBinding, "wait", lambda _: self.wait())

    def wait(self) -> None:
        if self.fails:
            raise StepFailed("the card failed")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


def test_a_failure_is_that_of_its_own_run(runtimes: list[Runtime], failing: Failing) -> None:
    _, fixed = runtimes
    first = fixed.start(batch(2))
    failing.fails = True
    second = fixed.start(batch(6))
    failing.fails = False
    with pytest.raises(StepFailed, match="the card failed"):
        first.wait()
    assert second.wait().chosen.shape == (1, 3)


def test_a_run_in_flight_ends_before_another_size_is_made(
    runtimes: list[Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fixed = runtimes
    waited: list[str] = []
    fixed.step(batch(2))
    first = fixed.start(batch(2))
    monkeypatch.setattr(StepBinding, "wait", lambda _: waited.append("waited"))

    def no_room(_: StepBinding) -> None:
        assert waited == ["waited"]
        raise MemoryError("no room")

    monkeypatch.setattr(StepBinding, "clear", no_room)
    with pytest.raises(NotCompiled):
        fixed.start(batch(2, rows=5))
    assert first.wait().chosen.shape == (1, 3)
    assert waited == ["waited"]


class Library:
    """CUDA's runtime library."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.waits = 0

    def load(self, name: str) -> Library:
        self.names.append(name)
        return self

    def cudaDeviceSynchronize(self) -> int:  # noqa: N802
        self.waits += 1
        return 0


@pytest.fixture
def no_library_kept() -> Iterator[None]:
    card_wait._cuda.cache_clear()
    yield
    card_wait._cuda.cache_clear()


@pytest.mark.usefixtures("no_library_kept")
@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "libcudart.so.13"), ("win32", "cudart64_13.dll")]
)
def test_a_card_is_waited_for_by_cudas_own_library(
    monkeypatch: pytest.MonkeyPatch, platform: str, name: str
) -> None:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", library.load)
    monkeypatch.setattr(card_wait, "CUDA_MAJOR", "13")
    monkeypatch.setattr(sys, "platform", platform)
    for _ in range(2):
        card_wait.wait_for_card()
    assert (library.names, library.waits) == ([name], 2)


@pytest.mark.usefixtures("no_library_kept")
def test_without_it_onnx_runtime_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Library:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    card_wait.wait_for_card()
