"""A bare loop over the daemon's own program: no engine, no sessions, no network.

A run of the program is a stride of up to MAX_STEPS steps.

Everything here that knows how the daemon's runtime works inside is in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.bench.pace import runs_per_s

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.row import Row, batch_of
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.slots import RESERVED_SLOTS
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.programs.sampler import SamplerVariant
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.step_runner import StepRunner

_NONE_RANKED = 0  # nobody asks for the likeliest
_SEED = 7


class StepTask:
    """Runs a model's program on states of its own."""

    def __init__(self, model: Path, threads: int, max_rows: int) -> None:
        cell = read_cell(model)
        self._symbols = cell.manifest.vocabulary.size
        self._runtime = Runtime(
            cell, RESERVED_SLOTS + max_rows, max_rows, Execution(threads=threads)
        )

    def tokens_per_s(self, rows: int, seconds: float, steps: int = MAX_STEPS) -> float:
        """Return how many characters the bare loop draws, measured for so long."""
        return runs_per_s(self._loop(rows, steps), seconds) * rows * steps

    def step_s(self, rows: int, seconds: float) -> float:
        """Return the time of a step that is a stride of its own, as in a beam."""
        return 1 / runs_per_s(self._loop(rows, 1), seconds)

    def _loop(self, rows: int, steps: int) -> Callable[[], None]:
        """Return what runs a stride of so many steps, all rows drawing at temperature 1.

        The stride's inputs are filled in once, but for the tokens: each row goes on from the one
        that was drawn for it last.
        """
        strider = self._runtime._strider
        assert isinstance(strider, StepRunner)
        batch = batch_of(self._rows(rows, steps, Sampling()), steps)
        strider._fill(SamplerVariant.PLAIN, batch, _NONE_RANKED)
        bound = strider._binding(SamplerVariant.PLAIN, steps, rows, _NONE_RANKED)
        run, binding = bound._session.run_with_iobinding, bound._binding
        token = strider._inputs["token"][:rows]
        last = strider._chosen[(steps - 1) * rows : steps * rows]

        def stride() -> None:
            run(binding)
            token[:] = last

        return stride

    def sampling_loop(self, rows: int, sampling: Sampling) -> Callable[[], None]:
        """Return what makes a step as the engine would, for rows that all ask for the same."""
        batch = batch_of(self._rows(rows, 1, sampling), 1)

        def step() -> None:
            self._runtime.step(batch)

        return step

    def _rows(self, rows: int, steps: int, sampling: Sampling) -> list[Row]:
        random = np.random.default_rng(_SEED)
        return [
            Row(
                token=int(random.integers(self._symbols)),
                read_slot=RESERVED_SLOTS + index,
                write_slot=RESERVED_SLOTS + index,
                steps=steps,
                sampling=sampling,
                key=index,
                recent=random.integers(self._symbols, size=sampling.repetition_window).tolist(),
            )
            for index in range(rows)
        ]
