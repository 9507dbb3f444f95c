"""The bare loop of a padded program: what the daemon runs on a card, with nothing around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.row import Row, batch_of
from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.programs.sampler import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import LENGTHS, FixedShapeStepRunner
from cellwire.server.runtime.runtime import Runtime

_STEPS = max(LENGTHS)


class PaddedStepping:
    """Runs strides of the greatest length, all rows drawing at temperature 1."""

    def __init__(self, model: Path, execution: Execution, rows: int) -> None:
        cell = read_cell(model)
        self._symbols = cell.manifest.vocabulary.size
        self._rows = rows
        self._runtime = Runtime(cell, RESERVED_SLOTS + rows, rows, execution)
        strider = self._runtime._strider
        assert isinstance(strider, FixedShapeStepRunner)
        self._padded = strider._padded_to((SamplerVariant.PLAIN, ProgramShape(_STEPS, 0), rows, 0))
        self._next = self._batch(range(rows), first=False)
        self._padded.fill(self._next)

    def stride(self) -> None:
        """Make a stride: what was drawn last goes up, what is drawn comes down."""
        self._padded.fill(self._next)
        self._padded.run()
        self._next.token[:] = self._padded.result(self._rows, best=False).chosen[-1]

    def replay(self) -> None:
        """Run the program on what is there already."""
        self._padded.binding.run()

    def log_probabilities(self, *rows: int) -> npt.NDArray[np.float32]:
        """Return those of some rows' first stride, or all rows': `[steps, rows]`."""
        batch = self._batch(rows or range(self._rows), first=True)
        return self._runtime.step(batch).log_probability

    def _batch(self, rows: range | tuple[int, ...], *, first: bool) -> StepBatch:
        """Return a stride of rows that each have a number, from their beginning or their slots."""
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
