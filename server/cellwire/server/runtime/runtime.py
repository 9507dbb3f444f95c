"""The runtime: a cell's states on one device, and the programs that step them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.runtime_text import plain
from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import FinishedRun, Run, State
from cellwire.server.errors import InvalidArgument, NotCompiled, StepFailed
from cellwire.server.programs.float16 import widen_float16
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape
from cellwire.server.runtime.beam_runner import BeamRunner
from cellwire.server.runtime.card_lock import on_device
from cellwire.server.runtime.compiled_programs import CompiledPrograms
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.fixed_shape_step_runner import (
    SUPPORTED_STEPS,
    FixedShapeStepRunner,
    max_top_k,
)
from cellwire.server.runtime.memory import Memory, memory_of
from cellwire.server.runtime.states import DeviceStates, States
from cellwire.server.runtime.step_runner import StepRunner
from cellwire.server.runtime.weights import Weights

_log = logging.getLogger(__name__)


class _Part(Protocol):
    def close(self) -> None: ...


_P = TypeVar("_P", bound=_Part)


class Runtime:
    """One cell on one device; a Stepper. Its maker closes it."""

    def __init__(
        self, cell: Cell, slots: int, max_batch: int, execution: Execution | None = None
    ) -> None:
        """Compile the programs and set all states to zero; BadModel if that fails.

        `slots` is the number of rows of each arena, and `max_batch` the most rows of a batch.
        """
        self._execution = execution or Execution()
        self._parts: list[_Part] = []  # in the order of making; closed in the opposite one
        self._closed = False
        try:
            device = self._execution.device
            if device.is_host:
                cell = replace(cell, graph=widen_float16(cell.graph))
            self._memory = self._part(self._make_memory(cell))
            self._states = self._part(self._make_states(cell, slots))
            self._programs = self._part(self._make_programs(cell))
            self.cell = self._programs.cell  # without the weights, if the programs share them
            self._step_runner = self._part(self._make_step_runner(max_batch))
            self._beam_runner = self._part(
                BeamRunner(
                    self._programs.beam,
                    self._states.arenas,
                    cell.manifest.vocabulary.size,
                    unrolled=not device.is_host,
                )
            )
        except BaseException:
            self.close()
            raise

    def _part(self, part: _P) -> _P:
        self._parts.append(part)
        return part

    def _make_memory(self, cell: Cell) -> Memory:
        try:
            return memory_of(self._execution.device)
        except ValueError as error:
            raise BadModel(cell.path, [f"cannot be run: {plain(str(error))}"]) from error

    def _make_states(self, cell: Cell, slots: int) -> States:
        kind = States if self._execution.device.is_host else DeviceStates
        try:
            return kind(cell, slots, self._memory)
        except (MemoryError, StepFailed, ValueError) as error:  # the last: not to be addressed
            fault = (
                f"there is no memory for {slots:,} states of {cell.state_bytes:,} bytes each; "
                "start the daemon with fewer --slots"
            )
            raise BadModel(cell.path, [fault]) from error

    def _make_programs(self, cell: Cell) -> CompiledPrograms:
        """Compile what every session needs; BadModel if that fails.

        Sessions that sample otherwise, or search, find their programs compiled on first use.
        """
        try:
            return self._compiled(Weights.shared(cell, self._memory))
        except NotCompiled as error:  # ONNX Runtime rewrites those of convolutions, for example
            reason = str(error)
        except (MemoryError, StepFailed) as error:
            raise BadModel(cell.path, [str(error)]) from error
        try:
            programs = self._compiled(Weights(cell))
        except NotCompiled as error:
            raise BadModel(cell.path, [str(error)]) from error
        _log.warning("each program of %s holds its weights: %s", cell.path.name, reason)
        return programs

    def _compiled(self, weights: Weights) -> CompiledPrograms:
        """Return programs, of which the common ones are compiled; NotCompiled."""
        programs = CompiledPrograms(weights, self._execution)
        shape = ProgramShape(max(SUPPORTED_STEPS), 0) if self._execution.fixed_shape else None
        variants = [SamplerVariant.FORCED] if weights.cell.generates else []
        try:
            for variant in (*variants, SamplerVariant.PLAIN):
                programs.step(variant, shape, ragged=False)
        except NotCompiled:
            programs.close()
            raise
        return programs

    def _make_step_runner(self, max_batch: int) -> StepRunner | FixedShapeStepRunner:
        program, arenas = self._programs.step, self._states.arenas
        if self._execution.fixed_shape:
            return FixedShapeStepRunner(
                program, arenas, self.cell, self._execution, max_batch, self._memory
            )
        return StepRunner(program, arenas, self.cell)

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self._programs.provider

    @property
    def max_top_k(self) -> int | None:
        """The greatest top_k that rows may have; None if they may have any."""
        return max_top_k(self._execution.device, self.cell.manifest.vocabulary.size)

    def state(self, name: str) -> npt.NDArray[np.float32]:
        """Return the arena of one state itself, `[slots, ...]`, on the CPU."""
        return self._states.arenas[name].host

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot; StepFailed."""
        self._check_open()
        return self._states.read(slot)

    def write_state(self, slot: int, state: State) -> None:
        """Write a state to a slot; InvalidArgument if its shape is not this cell's, StepFailed."""
        self._check_open()
        if [len(part) for part in state] != [part.bytes for part in self.cell.states]:
            raise InvalidArgument("the snapshot's state has not the shape of the model's")
        self._states.write(slot, state)

    @property
    def overlaps(self) -> bool:
        """Whether the run of a step batch goes on while the caller works: on a card."""
        return self._step_runner.overlaps

    def padded_rows(self, rows: int) -> int:
        """Return the number of rows that a run of `rows` rows costs as much as."""
        return self._step_runner.padded_rows(rows)

    def supported_steps(self, steps: int) -> int:
        """Return the largest number of steps that a run may have, up to `steps`."""
        return self._step_runner.supported_steps(steps)

    def step(self, batch: StepBatch) -> StepResult:
        """Run a step batch; NotCompiled, StepFailed."""
        self._check_open()
        return self._step_runner.step(batch)

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        """Run a beam batch; NotCompiled, StepFailed."""
        self._check_open()
        return self._beam_runner.step(batch)

    def start(self, batch: StepBatch) -> Run[StepResult]:
        """Start the run of a step batch; NotCompiled, StepFailed."""
        self._check_open()
        return self._step_runner.start(batch)

    def start_beams(self, batch: BeamBatch) -> FinishedRun[BeamBatchResult]:
        """Run a beam batch; NotCompiled, StepFailed."""
        return FinishedRun(self.step_beams(batch))

    def abort(self) -> None:
        """End the run in progress, and all later ones, with StepFailed. For any thread."""
        self._programs.abort()

    def close(self) -> None:
        """Give back all memory: of bindings and their arrays, sessions, weights, and states.

        In the thread that steps, or in any before a first step. Harmless if it was done.
        """
        self._closed = True
        with on_device(self._execution.device):
            while self._parts:
                self._parts.pop().close()

    def _check_open(self) -> None:
        if self._closed:
            raise StepFailed("the model could not be run: it was unloaded")
