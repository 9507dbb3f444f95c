"""A cell's programs, compiled for a device on first use."""

from __future__ import annotations

from collections.abc import Callable

from cellwire.model_file.cell import Cell
from cellwire.model_file.runtime_text import plain
from cellwire.server.errors import NotCompiled
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.weights import Weights


class CompiledPrograms:
    """The programs that were used so far; they share the cell's weights."""

    def __init__(self, weights: Weights, execution: Execution) -> None:
        self._weights = weights
        self._execution = execution
        self._programs: dict[object, Compiled] = {}

    def step(
        self, variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool
    ) -> Compiled:
        """Return the step program of a variant; NotCompiled."""
        return self._program(
            (variant, shape, ragged),
            lambda: compose_step_program(self._weights.cell, variant, shape, ragged=ragged),
            captured=self._execution.captured,
        )

    def beam(self, program: BeamProgram) -> Compiled:
        """Return a beam program; NotCompiled."""
        return self._program(program, lambda: compose_beam_program(self._weights.cell, program))

    def _program(
        self, key: object, compose: Callable[[], bytes], *, captured: bool = False
    ) -> Compiled:
        if key not in self._programs:
            execution = self._execution
            try:
                self._programs[key] = Compiled(
                    compose(),
                    execution.threads,
                    execution.device,
                    constants=self._weights.constants,
                    captured=captured,
                )
            except ValueError as error:
                raise NotCompiled(f"cannot be run: {plain(str(error))}") from error
        return self._programs[key]

    @property
    def cell(self) -> Cell:
        """The cell, without the weights that the programs share."""
        return self._weights.cell

    @property
    def provider(self) -> str:
        """The execution provider of the programs that there are."""
        return next(iter(self._programs.values())).provider

    def abort(self) -> None:
        """End the run in progress, and all later ones, with StepFailed. For any thread."""
        for program in list(self._programs.values()):
            program.abort()

    def close(self) -> None:
        """Give back the sessions, after their bindings are closed, and then the weights."""
        for program in self._programs.values():
            program.close()
        self._weights.close()
