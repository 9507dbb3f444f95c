"""Runtimes on a device and batches for them, and how their results compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.server.program_runs import batch_of

from cellwire.model_file.cell import Cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import SAMPLED, StepBatch, StepResult
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.runtime import Runtime

SLOTS, MOST = 64, 32


def on(device: Device, *, fixed_batch: bool = False, captured: bool = True) -> Execution:
    """The way a card runs a cell, on a card or on the CPU, which captures nothing."""
    return Execution(
        device,
        fixed_shape=True,
        fixed_batch=fixed_batch,
        captured=captured and not device.is_host,
    )


def reference_and(device: Device, cell: Cell) -> tuple[Runtime, Runtime]:
    """A cell as the CPU runs it, and on a device."""
    return Runtime(cell, SLOTS, MOST), Runtime(cell, SLOTS, MOST, on(device))


def tolerance(device: Device) -> float:
    """How far a step's numbers may be from the CPU's."""
    return 0 if device.is_host else 1e-5


def states(runtime: Runtime, slots: int = SLOTS) -> npt.NDArray[np.float32]:
    """All rows of all parts, `[slots, width]`."""
    rows = (b"".join(runtime.read_state(slot)) for slot in range(slots))
    return np.stack([np.frombuffer(row, "<f4") for row in rows])


def drawn(
    cell: Cell, seed: int, rows: int, steps: int, *, slots: int = SLOTS, **columns: object
) -> StepBatch:
    """Random rows that write slots of their own, but for the given columns."""
    random = np.random.default_rng(seed)
    symbols = cell.manifest.vocabulary.size
    columns = {
        "read_slot": random.integers(ZERO, slots, rows),
        "write_slot": random.permutation(np.arange(2, slots))[:rows],
        "count": random.integers(1, steps + 1, rows),
        "forced": random.integers(-6, symbols, (steps, rows)).clip(min=SAMPLED),
        **columns,
    }
    return batch_of(
        rows,
        token=random.integers(0, symbols, rows),
        uniform=random.integers(0, 2**23, (steps, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        **columns,
    )


def all_drawn(cell: Cell, seed: int, rows: int) -> StepBatch:
    """One step from the zero state, in which every row draws its token."""
    nothing_forced = np.full((1, rows), SAMPLED)
    return drawn(cell, seed, rows, 1, read_slot=np.full(rows, ZERO), forced=nothing_forced)


def row_of(batch: StepBatch, row: int) -> StepBatch:
    """One row of a batch, as a batch."""
    columns: dict[str, Any] = {
        name: getattr(batch, name)[..., row : row + 1]
        for name in StepBatch.__slots__
        if isinstance(getattr(batch, name), np.ndarray)
    }
    return replace(batch, **columns)


def assert_same(expected: StepResult, found: StepResult, batch: StepBatch, within: float) -> None:
    """Compare the steps that each row takes: equal tokens, log-probabilities within a distance."""
    taken = np.arange(batch.steps)[:, None] < batch.count
    assert (found.chosen == expected.chosen)[taken].all()
    apart = np.abs(found.log_probability - expected.log_probability)[taken]
    assert apart.max() <= within


def same_draws(expected: StepResult, found: StepResult) -> float:
    """The share of rows whose first draw is the same: one on the edge of two may fall on either."""
    return float((found.chosen[0] == expected.chosen[0]).mean())
