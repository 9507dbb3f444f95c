"""A cell's programs, compiled for a device on first use."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cellwire.model_file.cell import Cell
from cellwire.model_file.runtime_text import plain
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.card_lock import on_device
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.weights import Weights

_log = logging.getLogger(__name__)


class CompiledPrograms:
    """The programs that were used so far; they share the cell's weights.

    If ONNX Runtime cannot compile one so, that one and all later ones hold the weights themselves.
    For the very first program that is an error: the caller can do without a second copy of them.
    """

    def __init__(self, weights: Weights, execution: Execution) -> None:
        self._weights = weights
        self._shared = weights  # closed with the programs
        self._execution = execution
        self._programs: dict[object, Compiled] = {}

    def step(
        self, variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool
    ) -> Compiled:
        """Return the step program of a variant; NotCompiled."""
        return self._program(
            (variant, shape, ragged),
            lambda cell: compose_step_program(cell, variant, shape, ragged=ragged),
            captured=self._execution.captured,
        )

    def beam(self, program: BeamProgram) -> Compiled:
        """Return a beam program; NotCompiled."""
        return self._program(program, lambda cell: compose_beam_program(cell, program))

    def _program(
        self, key: object, compose: Callable[[Cell], bytes], *, captured: bool = False
    ) -> Compiled:
        if key not in self._programs:
            self._programs[key] = self._compiled(compose, captured=captured)
        return self._programs[key]

    def _compiled(self, compose: Callable[[Cell], bytes], *, captured: bool) -> Compiled:
        try:
            return self._compiled_with(self._weights, compose, captured=captured)
        except NotCompiled as error:
            if not self._weights.constants or not self._programs:
                raise
            reason = str(error)
        weights = self._embedded()
        program = self._compiled_with(weights, compose, captured=captured)
        self._weights = weights
        name = weights.cell.path.name
        _log.warning("each further program of %s holds its weights: %s", name, reason)
        return program

    def _embedded(self) -> Weights:
        try:
            with on_device(self._execution.device):
                return self._weights.embedded()
        except StepFailed as error:
            raise NotCompiled(str(error)) from error

    def _compiled_with(
        self, weights: Weights, compose: Callable[[Cell], bytes], *, captured: bool
    ) -> Compiled:
        execution = self._execution
        try:
            return Compiled(
                compose(weights.cell),
                execution.threads,
                execution.device,
                constants=weights.constants,
                captured=captured,
            )
        except ValueError as error:
            raise NotCompiled(f"cannot be run: {plain(str(error))}") from error

    @property
    def cell(self) -> Cell:
        """The cell, without the weights that programs share."""
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
        self._shared.close()
