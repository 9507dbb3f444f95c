"""CUDA graphs: a replay is the program run, whatever was run before and between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.gpu.devices import REAL_DEVICES
from tests.gpu.step_batches import MOST, SLOTS, assert_same, drawn, on, row_of, states
from tests.server.program_runs import adjustments_of

from cellwire.model_file.cell import Cell
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime

SIZES = tuple(2**n for n in range(10))  # 1 to 512


def plain_and_replayed(
    cell: Cell, device: Device, slots: int = SLOTS, most: int = MOST
) -> tuple[Runtime, Runtime]:
    return tuple(Runtime(cell, slots, most, on(device, captured=c)) for c in (False, True))  # type: ignore[return-value]  # two


def test_a_graph_replayed_is_the_program_run(cell: Cell, device: Device) -> None:
    plain, replayed = plain_and_replayed(cell, device)
    for seed in range(20):
        batch = drawn(cell, seed, 1 + seed % MOST, SUPPORTED_STEPS[seed % 3])
        assert_same(plain.step(batch), replayed.step(batch), batch, within=0)
    assert (states(plain)[2:] == states(replayed)[2:]).all()


def adjusted(batch: StepBatch) -> StepBatch:
    rows = len(batch)
    changes = [(row, row % 30, 1.5, 0.5) for row in range(rows)]
    adjustments = adjustments_of(rows, changes, top_p=np.full(rows, 0.8))
    return replace(batch, adjustments=adjustments)


CHANGES: dict[str, Callable[[StepBatch], StepBatch]] = {
    "plain": lambda batch: replace(batch, count=np.full(len(batch), batch.steps)),
    "ragged": lambda batch: batch,
    "top_k": lambda batch: replace(batch, top_k=np.full(len(batch), 5)),
    "adjusted": adjusted,
}


@REAL_DEVICES
@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_replays_after_larger_sizes(cell: Cell, device: Device, kind: str, steps: int) -> None:
    """A graph keeps addresses: what a larger size frees or moves must be none of a smaller's."""
    slots, most = 600, max(SIZES)
    plain, replayed = plain_and_replayed(cell, device, slots, most)
    for seed, rows in enumerate((*SIZES, *reversed(SIZES[:-1]), *SIZES)):
        batch = drawn(cell, seed, rows, steps, slots=slots)
        batch = CHANGES[kind](batch)
        assert_same(plain.step(batch), replayed.step(batch), batch, within=0)
    assert (states(plain, slots)[2:] == states(replayed, slots)[2:]).all()


def test_capture_leaves_all_states_as_they_are(cell: Cell, device: Device) -> None:
    runtime = Runtime(cell, SLOTS, MOST, on(device))
    random = np.random.default_rng(1)
    for slot in range(2, SLOTS):
        part = [random.normal(size=64).astype("<f4").tobytes() for _ in range(2)]
        runtime.write_state(slot, tuple(part))
    before = states(runtime)
    # Each batch is the first of its size; its rows write the trash slot.
    for rows in (1, 2, 5, 30):
        for steps in SUPPORTED_STEPS:
            runtime.step(drawn(cell, rows, rows, steps, write_slot=np.full(rows, TRASH)))
    after = states(runtime)
    assert (after[2:] == before[2:]).all()
    assert (after[ZERO] == 0).all()


def test_a_run_changes_only_the_slots_it_writes(cell: Cell, device: Device) -> None:
    runtime = Runtime(cell, SLOTS, MOST, on(device))
    runtime.step(drawn(cell, 1, MOST, 4))
    before = states(runtime)
    batch = drawn(cell, 2, 3, 4)
    runtime.step(batch)
    changed = np.flatnonzero((states(runtime) != before).any(axis=1))
    assert set(changed) <= {TRASH, *batch.write_slot.tolist()}
    assert set(batch.write_slot.tolist()) <= set(changed)


@REAL_DEVICES
def test_batched_is_alone_with_a_fixed_batch(cell: Cell, device: Device) -> None:
    together, apart = (Runtime(cell, SLOTS, MOST, on(device, fixed_batch=True)) for _ in range(2))
    batch = drawn(cell, 3, MOST, 16, read_slot=np.full(MOST, ZERO))
    whole = together.step(batch)
    for row in range(MOST):
        found = apart.step(row_of(batch, row))
        count = int(batch.count[row])
        assert (found.chosen[:count, 0] == whole.chosen[:count, row]).all()
        assert (found.log_probability[:count, 0] == whole.log_probability[:count, row]).all()
    assert (states(together)[2:] == states(apart)[2:]).all()
