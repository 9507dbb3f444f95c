"""The runtime: a cell's states on one device, and the programs that step them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.runtime_text import plain
from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import State
from cellwire.server.errors import InvalidArgument, NotCompiled
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.float16 import widen_float16
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.beam_runner import BeamRunner
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import (
    SUPPORTED_STEPS,
    FixedShapeStepRunner,
)
from cellwire.server.runtime.states import DeviceStates, States
from cellwire.server.runtime.step_runner import StepRunner


class Runtime:
    """One cell on one device; a Stepper."""

    def __init__(
        self, cell: Cell, slots: int, max_batch: int, execution: Execution | None = None
    ) -> None:
        """Compile the programs and set all states to zero; BadModel if that fails.

        `slots` is the number of rows of each arena, and `max_batch` the most rows of a batch.
        """
        self._execution = execution or Execution()
        device = self._execution.device
        self._cell = replace(cell, graph=widen_float16(cell.graph)) if device.is_host else cell
        self._states = self._make_states(slots)
        self._programs: dict[object, Compiled] = {}
        self._step_runner = self._make_step_runner(max_batch)
        self._beam_runner = BeamRunner(
            self._beam_program,
            self._states.arenas,
            cell.manifest.vocabulary.size,
            unrolled=not device.is_host,
        )
        self._compile_common_programs()

    def _make_states(self, slots: int) -> States:
        cell, device = self._cell, self._execution.device
        kind = States if device.is_host else DeviceStates
        try:
            return kind(cell, slots, device)
        except (MemoryError, ValueError) as error:  # ValueError: more than can be addressed
            fault = (
                f"there is no memory for {slots:,} states of {cell.state_bytes:,} bytes each; "
                "start the daemon with fewer --slots"
            )
            raise BadModel(cell.path, [fault]) from error

    def _make_step_runner(self, max_batch: int) -> StepRunner | FixedShapeStepRunner:
        program, arenas, cell = self._step_program, self._states.arenas, self._cell
        if self._execution.fixed_shape:
            return FixedShapeStepRunner(program, arenas, cell, self._execution, max_batch)
        return StepRunner(program, arenas, cell)

    def _compile_common_programs(self) -> None:
        """Compile what every session needs; BadModel if that fails.

        Each program holds a copy of the weights, so the others are compiled on first use.
        """
        shape = ProgramShape(max(SUPPORTED_STEPS), 0) if self._execution.fixed_shape else None
        variants = [SamplerVariant.FORCED] if self._cell.generates else []
        try:
            for variant in (*variants, SamplerVariant.PLAIN):
                self._step_program(variant, shape, ragged=False)
        except NotCompiled as error:
            raise BadModel(self._cell.path, [str(error)]) from error

    def _step_program(
        self, variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool
    ) -> Compiled:
        return self._program(
            (variant, shape, ragged),
            lambda: compose_step_program(self._cell, variant, shape, ragged=ragged),
            captured=self._execution.captured,
        )

    def _beam_program(self, program: BeamProgram) -> Compiled:
        return self._program(program, lambda: compose_beam_program(self._cell, program))

    def _program(
        self, key: object, compose: Callable[[], bytes], *, captured: bool = False
    ) -> Compiled:
        """Return a program, compiled on first use; NotCompiled."""
        if key not in self._programs:
            execution = self._execution
            try:
                self._programs[key] = Compiled(
                    compose(), execution.threads, execution.device, captured=captured
                )
            except ValueError as error:
                raise NotCompiled(f"cannot be run: {plain(str(error))}") from error
        return self._programs[key]

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return next(iter(self._programs.values())).provider

    def state(self, name: str) -> npt.NDArray[np.float32]:
        """Return the arena of one state itself, `[slots, ...]`, on the CPU."""
        return self._states.arenas[name].host

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""
        return self._states.read(slot)

    def write_state(self, slot: int, state: State) -> None:
        """Write a state to a slot; InvalidArgument if its shape is not this cell's."""
        if [len(part) for part in state] != [part.bytes for part in self._cell.states]:
            raise InvalidArgument("the snapshot's state has not the shape of the model's")
        self._states.write(slot, state)

    def supported_steps(self, steps: int) -> int:
        """Return the largest number of steps that a run may have, up to `steps`."""
        return self._step_runner.supported_steps(steps)

    def abort(self) -> None:
        """End the run in progress, and all later ones, with StepFailed. For any thread."""
        for program in list(self._programs.values()):
            program.abort()

    def step(self, batch: StepBatch) -> StepResult:
        """Run a step batch; NotCompiled, StepFailed."""
        return self._step_runner.step(batch)

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        """Run a beam batch; NotCompiled, StepFailed."""
        return self._beam_runner.step(batch)
