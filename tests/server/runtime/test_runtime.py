"""A runtime that is closed gives back all that it took."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.server.program_runs import batch_of
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.server.batch.beam_step import BeamInput
from cellwire.server.batch.beam_step import batch_of as beams_of
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY
from cellwire.server.errors import StepFailed
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.states import DeviceStates, States

SLOTS, ROWS = 10, 4
SEARCH = BeamInput((1, 2), (2, 3), (4, 5), (0.0, 0.0), 0, (False, False), MAX_LENGTH_ONLY)


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(40)))


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing may wait for it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[object]]:
    """The sessions, bindings and values of ONNX Runtime that are made in a test."""
    found: list[weakref.ref[object]] = []

    class Session(ort.InferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments: object, **options: object) -> None:
            found.append(weakref.ref(self))
            super().__init__(*arguments, **options)

    class OrtValue(ort.OrtValue):  # type: ignore[misc]
        def __init__(self, *arguments: object) -> None:
            found.append(weakref.ref(self))
            super().__init__(*arguments)

    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort, "OrtValue", OrtValue)
    return found


def used(runtime: Runtime) -> None:
    """Take steps in several sizes and programs, and a search."""
    for rows in (1, ROWS):
        for top_k in (0, 2):
            runtime.step(batch_of(rows, top_k=np.full(rows, top_k)))
    runtime.step_beams(beams_of([SEARCH], steps=1))
    runtime.write_state(3, runtime.read_state(2))


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fixed_shape", [False, True])
@pytest.mark.parametrize("kind", [States, DeviceStates])
def test_a_runtime_that_is_closed_holds_nothing(
    cell: Cell,
    made: list[weakref.ref[object]],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[States],
    fixed_shape: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr("cellwire.server.runtime.runtime.States", kind)
    runtime = Runtime(cell, SLOTS, ROWS, Execution(fixed_shape=fixed_shape))
    used(runtime)
    arenas: list[weakref.ref[object]] = [
        weakref.ref(arena.host) for arena in runtime._states.arenas.values()
    ]
    assert all(reference() is not None for reference in [*made, *arenas])
    assert len(made) > 4
    runtime.close()
    assert not any(reference() is not None for reference in [*made, *arenas])


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fixed_shape", [False, True])
def test_a_runtime_that_is_dropped_needs_no_collector(
    cell: Cell,
    made: list[weakref.ref[object]],
    fixed_shape: bool,  # noqa: FBT001
) -> None:
    runtime = Runtime(cell, SLOTS, ROWS, Execution(fixed_shape=fixed_shape))
    used(runtime)
    gone = weakref.ref(runtime)
    del runtime
    assert gone() is None
    assert all(reference() is None for reference in made)


def test_a_runtime_that_is_closed_takes_no_step(cell: Cell) -> None:
    runtime = Runtime(cell, SLOTS, ROWS)
    state = runtime.read_state(1)
    runtime.close()
    uses: tuple[Callable[[], object], ...] = (
        lambda: runtime.step(batch_of(1)),
        lambda: runtime.step_beams(beams_of([SEARCH], steps=1)),
        lambda: runtime.read_state(1),
        lambda: runtime.write_state(1, state),
    )
    for use in uses:
        with pytest.raises(StepFailed, match="it was unloaded"):
            use()
    runtime.abort()
    runtime.close()


def test_a_program_that_is_closed_cannot_be_run(cell: Cell) -> None:
    compiled = Compiled(cell.graph.SerializeToString())
    compiled.close()
    with pytest.raises(StepFailed, match="it was unloaded"):
        compiled.run(["logits"], {})
    compiled.abort()
    compiled.close()


@pytest.mark.usefixtures("no_collector")
def test_a_runtime_that_cannot_be_made_holds_nothing(
    cell: Cell, made: list[weakref.ref[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(ort.InferenceSession):  # type: ignore[misc]
        def __init__(self, *_: object, **__: object) -> None:
            raise ValueError("no room for a session")

    monkeypatch.setattr(ort, "InferenceSession", Refused)
    with pytest.raises(BadModel, match="no room for a session") as refused:
        Runtime(cell, SLOTS, ROWS)
    assert made
    assert all(reference() is None for reference in made)
    del refused


def test_weights_without_room_are_a_fault_of_the_model(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OrtValue(ort.OrtValue):  # type: ignore[misc]
        @classmethod
        def from_dlpack(cls, _: object) -> None:
            raise RuntimeError("no room for a constant")

    monkeypatch.setattr(ort, "OrtValue", OrtValue)
    with pytest.raises(BadModel, match="no room for a constant"):
        Runtime(cell, SLOTS, ROWS)
