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
from cellwire.server.runtime import runtime as runtime_module
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import CPU, Device, Execution
from cellwire.server.runtime.memory import DeviceMemory, Memory
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.states import DeviceStates

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


@pytest.fixture(params=["host", "device"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's memory, taken as such or as a device's."""
    if request.param == "device":
        monkeypatch.setattr(runtime_module, "memory_of", DeviceMemory)
        monkeypatch.setattr(runtime_module, "States", DeviceStates)


def used(runtime: Runtime) -> None:
    """Take steps in several sizes and programs, and a search."""
    for rows in (1, ROWS):
        for top_k in (0, 2):
            runtime.step(batch_of(rows, top_k=np.full(rows, top_k)))
    runtime.step_beams(beams_of([SEARCH], steps=1))
    runtime.write_state(3, runtime.read_state(2))


@pytest.mark.usefixtures("no_collector", "memory")
@pytest.mark.parametrize("fixed_shape", [False, True])
def test_a_runtime_that_is_closed_holds_nothing(
    cell: Cell,
    made: list[weakref.ref[object]],
    fixed_shape: bool,  # noqa: FBT001
) -> None:
    runtime = Runtime(cell, SLOTS, ROWS, Execution(fixed_shape=fixed_shape))
    used(runtime)
    arenas: list[weakref.ref[object]] = [
        weakref.ref(arena.host) for arena in runtime._states.arenas.values()
    ]
    assert all(reference() is not None for reference in [*made, *arenas])
    assert len(made) > 4
    runtime.close()
    assert not any(reference() is not None for reference in [*made, *arenas])


@pytest.mark.usefixtures("no_collector", "memory")
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
    def refuse(*_: object) -> None:
        raise MemoryError("no room for a constant")

    monkeypatch.setattr(Memory, "constant", refuse)
    with pytest.raises(BadModel, match="no room for a constant"):
        Runtime(cell, SLOTS, ROWS)


def test_a_devices_memory_gives_the_same_runs(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [batch_of(rows, write_slot=np.arange(rows) + 2) for rows in (3, 2)]
    execution = Execution(fixed_shape=True)
    here = Runtime(cell, SLOTS, ROWS, execution)
    monkeypatch.setattr(runtime_module, "memory_of", DeviceMemory)
    monkeypatch.setattr(runtime_module, "States", DeviceStates)
    there = Runtime(cell, SLOTS, ROWS, execution)
    for batch in batches:
        one, other = here.step(batch), there.step(batch)
        assert (one.chosen == other.chosen).all()
        assert (one.log_probability == other.log_probability).all()
    for slot in range(SLOTS):
        assert here.read_state(slot) == there.read_state(slot)


def test_a_device_without_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = DeviceMemory(CPU)

    class Full:
        def create_ortvalue_from_shape_and_type(self, *_: object) -> None:
            raise RuntimeError("Failed to allocate memory")

    monkeypatch.setattr(Compiled, "session", Full())
    for allocate in (memory.zeros, lambda shape: memory.buffer(shape, np.int64)):
        with pytest.raises(MemoryError, match="Failed to allocate memory"):
            allocate((3, 4))
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        memory.constant(np.ones(3))


def test_a_device_that_is_not_there_is_a_fault_of_the_model(cell: Cell) -> None:
    """This build of ONNX Runtime may know the provider, and not load it."""
    with pytest.raises(BadModel, match="cannot be run"):
        Runtime(cell, SLOTS, ROWS, Execution.on(Device("cuda"), 1))


@pytest.mark.usefixtures("no_collector")
def test_a_constant_in_a_devices_memory_is_given_back_when_it_is_closed(
    made: list[weakref.ref[object]],
) -> None:
    memory = DeviceMemory(CPU)
    constant = memory.constant(np.arange(6, dtype=np.float32))
    assert constant.value.numpy().tolist() == [0, 1, 2, 3, 4, 5]
    owner = weakref.ref(constant._owner._value)  # type: ignore[union-attr]
    assert owner() is not None
    constant.close()
    assert owner() is None
    memory.close()
    assert all(reference() is None for reference in made)
