"""The runtime: a cell's states, and what makes strides and searches on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import State
from cellwire.server.errors import InvalidArgument, NotCompiled
from cellwire.server.programs.beam_program import compose_beam_program
from cellwire.server.programs.float16 import widen_float16
from cellwire.server.programs.sampler import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.beam_runner import BeamRunner
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import LENGTHS, FixedShapeStepRunner
from cellwire.server.runtime.states import DeviceStates, States
from cellwire.server.runtime.step_runner import StepRunner


class Runtime:
    """One cell on one device; a Stepper."""

    def __init__(
        self, cell: Cell, slots: int, max_batch: int, execution: Execution | None = None
    ) -> None:
        """Compile the programs and set all states to zero; BadModel if that is impossible.

        `slots` is the number of rows of each arena; a stride has up to `max_batch` rows.
        """
        self._execution = execution or Execution()
        device = self._execution.device
        self._cell = replace(cell, graph=widen_float16(cell.graph)) if device.is_host else cell
        self._states = self._make_states(slots)
        self._programs: dict[object, Compiled] = {}
        self._strider = self._make_strider(max_batch)
        symbols = cell.manifest.vocabulary.size
        self._searcher = BeamRunner(self._search_program, self._states.arenas, symbols)
        # Each program holds the weights once more, so the rarer ones wait until they are needed.
        try:
            for sampler in (
                (SamplerVariant.FORCED, SamplerVariant.PLAIN)
                if cell.writes
                else (SamplerVariant.PLAIN,)
            ):
                self._stride_program(
                    sampler, ProgramShape(max(LENGTHS), 0) if self._execution.padded else None
                )
        except NotCompiled as error:
            raise BadModel(str(error)) from error

    def _make_states(self, slots: int) -> States:
        cell, device = self._cell, self._execution.device
        kind = States if device.is_host else DeviceStates
        try:
            return kind(cell, slots, device)
        except (MemoryError, ValueError) as error:  # the latter for more than can be addressed
            raise BadModel(
                f"{cell.path}: there is no memory for {slots:,} states of "
                f"{cell.state_bytes:,} bytes each; start the daemon with fewer --slots"
            ) from error

    def _make_strider(self, max_batch: int) -> StepRunner | FixedShapeStepRunner:
        program, arenas, cell = self._stride_program, self._states.arenas, self._cell
        if self._execution.padded:
            return FixedShapeStepRunner(program, arenas, cell, self._execution, max_batch)
        return StepRunner(program, arenas, cell, max_batch)

    def _stride_program(
        self, sampler: SamplerVariant, fixed: ProgramShape | None = None
    ) -> Compiled:
        return self._program(
            (sampler, fixed),
            lambda: compose_step_program(self._cell, sampler, fixed),
            captured=self._execution.captured,
        )

    def _search_program(self, may_end: bool) -> Compiled:  # noqa: FBT001  # there are two
        return self._program(may_end, lambda: compose_beam_program(self._cell, may_end=may_end))

    def _program(
        self, kind: object, compose: Callable[[], bytes], *, captured: bool = False
    ) -> Compiled:
        """Return a program, compiled on first use; NotCompiled if it cannot be."""
        if kind not in self._programs:
            how = self._execution
            try:
                self._programs[kind] = Compiled(
                    compose(), how.threads, how.device, captured=captured
                )
            except ValueError as error:
                raise NotCompiled(f"{self._cell.path}: cannot be run: {error}") from error
        return self._programs[kind]

    @property
    def provider(self) -> str:
        """The execution provider that the programs really got."""
        return next(iter(self._programs.values())).provider

    def state(self, name: str) -> npt.NDArray[np.float32]:
        """Return the arena of one state `[slots, ...]` itself, on the CPU."""
        return self._states.arenas[name].host

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""
        return self._states.read(slot)

    def write_state(self, slot: int, state: State) -> None:
        """Put a state into a slot; InvalidRequest if it has not this cell's shape."""
        if [len(part) for part in state] != [part.bytes for part in self._cell.states]:
            raise InvalidArgument("the snapshot's state has not the shape of the model's")
        self._states.write(slot, state)

    def supported_steps(self, steps: int) -> int:
        """Return the longest stride it makes of no more than so many steps."""
        return self._strider.supported_steps(steps)

    def step(self, batch: StepBatch) -> StepResult:
        """Make a stride; NotCompiled, StepFailed if the runtime refuses."""
        return self._strider.step(batch)

    def search(self, batch: BeamBatch) -> BeamBatchResult:
        """Take searches some steps on; NotCompiled, StepFailed if the runtime refuses."""
        return self._searcher.search(batch)
