"""Batches in which every row takes every step have a program of their own, with the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.program_runs import SLOTS, STATES, adjustments_of, batch_of, reset
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.step import SAMPLED, StepBatch, StepResult
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime

ROWS = 9
WAYS = (Execution(), Execution(fixed_shape=True))  # with a loop, and without


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(19)))


@pytest.fixture(scope="module")
def pairs(cell: Cell) -> list[tuple[Runtime, Runtime]]:
    return [(Runtime(cell, SLOTS, ROWS, way), Runtime(cell, SLOTS, ROWS, way)) for way in WAYS]


def even_batch(seed: int, rows: int, steps: int, top_k: int) -> StepBatch:
    random = np.random.default_rng(seed)
    return batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        write_slot=random.permutation(np.arange(2, SLOTS))[:rows],
        count=np.full(rows, steps),
        forced=random.integers(-6, len(SYMBOLS), (steps, rows)).clip(min=SAMPLED),
        uniform=random.integers(0, 2**23, (steps, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        top_k=random.integers(0, top_k + 1, rows),
    )


def step_as_ragged(runtime: Runtime, batch: StepBatch) -> StepResult:
    """Run a batch by the program that holds the states of rows that have taken all their steps."""
    runner = runtime._step_runner
    return runner.binding(runner.size_of(batch)._replace(ragged=True)).step(batch)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, ROWS),
    steps=st.sampled_from(SUPPORTED_STEPS),
    top_k=st.sampled_from([0, 5]),
    adjusted=st.booleans(),
)
def test_both_programs_give_the_same_bit_for_bit(
    pairs: list[tuple[Runtime, Runtime]],
    seed: int,
    rows: int,
    steps: int,
    top_k: int,
    adjusted: bool,  # noqa: FBT001
) -> None:
    batch = even_batch(seed, rows, steps, top_k)
    if adjusted:
        batch = replace(batch, adjustments=adjustments_of(rows, [(0, 3, 1.5, 2.0)]))
    for pair in pairs:
        even, ragged = reset(*pair)
        found, expected = even.step(batch), step_as_ragged(ragged, batch)
        assert (found.chosen == expected.chosen).all()
        assert (found.log_probability == expected.log_probability).all()
        for name in STATES:
            assert (even.state(name)[2:] == ragged.state(name)[2:]).all()


def test_a_batch_is_ragged_if_a_row_takes_fewer_steps() -> None:
    batch = even_batch(seed=1, rows=3, steps=4, top_k=0)
    assert not batch.ragged
    assert replace(batch, count=np.array([4, 3, 4])).ragged
    assert not even_batch(seed=1, rows=3, steps=1, top_k=0).ragged


@pytest.mark.parametrize("way", WAYS)
def test_programs_of_ragged_batches_are_compiled_on_first_use(cell: Cell, way: Execution) -> None:
    """A single session never has a ragged batch."""
    runtime = Runtime(cell, SLOTS, ROWS, way)
    shape = ProgramShape(16, 0) if way.fixed_shape else None
    compiled = [(SamplerVariant.FORCED, shape, False), (SamplerVariant.PLAIN, shape, False)]
    assert list(runtime._programs._programs) == compiled
    batch = even_batch(seed=1, rows=3, steps=16, top_k=0)
    batch = replace(batch, forced=np.full((16, 3), SAMPLED))
    runtime.step(batch)
    assert list(runtime._programs._programs) == compiled
    runtime.step(replace(batch, count=np.array([16, 2, 3])))
    assert list(runtime._programs._programs) == [*compiled, (SamplerVariant.PLAIN, shape, True)]
