"""A bare loop over a program of a fixed shape, which the daemon runs on a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.row import Row, batch_of
from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS, FixedShapeStepRunner
from cellwire.server.runtime.runtime import Runtime

_STEPS = max(SUPPORTED_STEPS)


class FixedShapeStepping:
    """Runs of the most steps, all rows drawing at temperature 1."""

    def __init__(self, model: Path, execution: Execution, rows: int) -> None:
        cell = read_cell(model)
        self._symbols = cell.manifest.vocabulary.size
        self._rows = rows
        self._runtime = Runtime(cell, RESERVED_SLOTS + rows, rows, execution)
        runner = self._runtime._step_runner
        assert isinstance(runner, FixedShapeStepRunner)
        self._next = self._batch(range(rows), first=False)
        self._binding = runner.binding(runner.size_of(self._next))
        self.run()  # uploads what a replay reads

    def run(self) -> None:
        """Upload the tokens drawn last, run the program, and download the tokens drawn."""
        self._next.token[:] = self._runtime.step(self._next).chosen[-1]

    def replay(self) -> None:
        """Run the program on the inputs uploaded last."""
        self._binding._binding.run()

    def close(self) -> None:
        """Give all memory back."""
        self._runtime.close()

    def log_probabilities(self, *rows: int) -> npt.NDArray[np.float32]:
        """Return those of the first run of some rows, or of all: `[steps, rows]`."""
        batch = self._batch(rows or range(self._rows), first=True)
        return self._runtime.step(batch).log_probability

    def _batch(self, rows: range | tuple[int, ...], *, first: bool) -> StepBatch:
        """Return a batch of numbered rows, from the zero state or from their slots."""
        slots = [RESERVED_SLOTS + place for place in range(len(rows))]
        return batch_of(
            [
                Row(
                    token=row % self._symbols,
                    read_slot=ZERO if first else slot,
                    write_slot=slot,
                    steps=_STEPS,
                    key=row,
                )
                for row, slot in zip(rows, slots, strict=True)
            ],
            _STEPS,
        )
