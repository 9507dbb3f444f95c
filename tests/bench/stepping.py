"""A bare loop over the daemon's own program: no engine, no sessions, no network.

A run of the program has up to MAX_STEPS steps. This file and fixed_shape_stepping.py are the only
ones that use the runtime's internals.
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
from cellwire.server.programs.program import FIRST_TOKEN
from cellwire.server.programs.step_program import CHOSEN
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.step_runner import StepRunner

_SEED = 7


class ProgramLoop:
    """Runs a model's program on its own states."""

    def __init__(self, model: Path, threads: int, max_rows: int) -> None:
        cell = read_cell(model)
        self._symbols = cell.manifest.vocabulary.size
        self._runtime = Runtime(
            cell, RESERVED_SLOTS + max_rows, max_rows, Execution(threads=threads)
        )

    def tokens_per_s(self, rows: int, seconds: float, steps: int = MAX_STEPS) -> float:
        """Return how many tokens a second the bare loop draws."""
        return runs_per_s(self._loop(rows, steps), seconds) * rows * steps

    def step_s(self, rows: int, seconds: float) -> float:
        """Return the time of a run of one step, as in a beam."""
        return 1 / runs_per_s(self._loop(rows, 1), seconds)

    def _loop(self, rows: int, steps: int) -> Callable[[], None]:
        """Return a run of some steps, all rows drawing at temperature 1.

        The inputs are filled in once, but for the tokens: each row continues from the token that
        was drawn for it last.
        """
        runner = self._runtime._step_runner
        assert isinstance(runner, StepRunner)
        batch = batch_of(self._rows(rows, steps, Sampling()), steps)
        step_binding = runner.binding(runner.size_of(batch))
        step_binding.fill(batch)
        binding = step_binding._binding
        run, arrays = binding._compiled.session.run_with_iobinding, binding._binding.value
        (token,) = (a for column, a in step_binding._by_row if column.name == FIRST_TOKEN)
        last = step_binding._outputs[CHOSEN].host[-1, :, 0]

        def run_steps() -> None:
            run(arrays)
            token[:] = last

        return run_steps

    def sampling_loop(self, rows: int, sampling: Sampling) -> Callable[[], None]:
        """Return a run of one step as the engine makes it, of rows with the same sampling."""
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
