"""Batches of any size: sizes share arrays, and few bindings are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cachetools import LRUCache
from tests.server.program_runs import SLOTS, STATES, adjustments_of, batch_of, rows_of
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.step import StepBatch
from cellwire.server.errors import NotCompiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.step_runner import StepRunner

ROWS = 16


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(19)))


@pytest.fixture
def runtime(cell: Cell) -> Runtime:
    return Runtime(cell, SLOTS, ROWS)


def runner_of(runtime: Runtime) -> StepRunner:
    assert isinstance(runtime._step_runner, StepRunner)
    return runtime._step_runner


def draws(rows: int) -> StepBatch:
    random = np.random.default_rng(rows)
    return batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        uniform=random.integers(0, 2**23, rows) * 2.0**-23,
    )


def test_a_size_gives_the_same_after_its_arrays_have_grown(runtime: Runtime) -> None:
    """Later, larger sizes get larger arrays; the first size's binding still has its own."""
    sizes = (1, 2, ROWS, 3, 1)
    whole = runtime.step(draws(ROWS))
    for rows in sizes:
        part = rows_of(draws(ROWS), np.arange(rows))
        result = runtime.step(part)
        assert (result.chosen == whole.chosen[:, :rows]).all()
        assert (result.log_probability == whole.log_probability[:, :rows]).all()


@pytest.mark.parametrize("numbers", [(0, 3, 0), (5, 1, 4, 5), (3, 0)])
def test_logit_changes_of_one_batch_are_not_those_of_the_next(
    cell: Cell, runtime: Runtime, numbers: tuple[int, ...]
) -> None:
    """Their number is rounded up: the rest must change nothing, whatever was there before."""
    for number in numbers:
        changes = [(place % 4, 7 * place % 30, 1.5, 20.0) for place in range(number)]
        batch = replace(draws(4), adjustments=adjustments_of(4, changes))
        result, fresh = runtime.step(batch), Runtime(cell, SLOTS, ROWS).step(batch)
        assert (result.chosen == fresh.chosen).all()


def test_the_binding_that_was_used_last_is_kept_longest(runtime: Runtime) -> None:
    runner = runner_of(runtime)
    runner._bindings = LRUCache(2)
    one, two, three = (runner.size_of(draws(rows)) for rows in (1, 2, 3))
    kept = runner.binding(one)
    runner.binding(two)
    assert runner.binding(one) is kept
    runner.binding(three)
    assert runner.binding(one) is kept
    assert two not in runner._bindings


@pytest.mark.parametrize("fixed_shape", [False, True])
def test_a_size_without_room_leaves_all_states_and_other_sizes_alone(
    cell: Cell,
    fixed_shape: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = Runtime(cell, SLOTS, ROWS, Execution(fixed_shape=fixed_shape))
    small = replace(draws(1), write_slot=np.array([5]))
    before = runtime.step(small)
    states = [runtime.state(name).copy() for name in STATES]

    def allocate(*_: object) -> None:
        raise MemoryError("no more")

    with monkeypatch.context() as full:
        full.setattr(runtime._step_runner, "_allocate", allocate)
        with pytest.raises(NotCompiled, match="no room for 8 rows: no more"):
            runtime.step(replace(draws(8), write_slot=np.arange(8) + 2))
    for name, state in zip(STATES, states, strict=True):
        assert (runtime.state(name) == state).all()
    assert (runtime.step(small).chosen == before.chosen).all()
    assert runtime.step(draws(8)).chosen.shape == (1, 8)
