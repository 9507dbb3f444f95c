"""An engine of sessions that generate without end, on any stepper."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.limits import DEFAULT_REWIND_WINDOW, MAX_GENERATE_TOKENS
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import FinishedRun, Run, State, Stepper
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for

_NO_READER = Limits(read_ahead_tokens=1_000_000_000)
_TEXT = np.arange(4, dtype=np.uint32)
_WARM_UP_RUNS = 8


class EndlessEngine:
    """Sessions at temperature 1, all in one batch, in runs of the most steps."""

    def __init__(self, make_stepper: Callable[[int], Stepper], sessions: int) -> None:
        """`make_stepper` is given the number of slots; the caller closes what it makes."""
        arena = Arena(sessions * (slots_for(DEFAULT_REWIND_WINDOW) + 2))
        stepper = make_stepper(arena.slots)
        self._engine = Engine(stepper, arena, _NO_READER, max_sessions=sessions, max_batch=sessions)
        for number in range(sessions):
            self._engine.handle(OpenSession(f"{number}", 0, number, DEFAULT_REWIND_WINDOW))
            for operation in (Append(1, _TEXT), Generate(2, MAX_GENERATE_TOKENS, Sampling())):
                self._engine.handle(SubmitOperation(f"{number}", operation))

    def step_us(self, seconds: float) -> float:
        """Return the time of a step of all sessions, measured for so long."""
        for _ in range(_WARM_UP_RUNS):
            self._engine.step()
        steps, start_s = self._engine.steps, perf_counter()
        while (elapsed_s := perf_counter() - start_s) < seconds:
            self._engine.step()
        return elapsed_s * 1e6 / (self._engine.steps - steps)


class NoStepper:
    """A stepper that does nothing: what is left is the engine's own time."""

    overlaps = False

    def __init__(self) -> None:
        self._results: dict[tuple[int, ...], StepResult] = {}

    def padded_rows(self, rows: int) -> int:
        """Return `rows`."""
        return rows

    def supported_steps(self, steps: int) -> int:
        """Return `steps`."""
        return steps

    def start(self, batch: StepBatch) -> Run[StepResult]:
        """Return zeros, made once for each shape."""
        shape = batch.forced.shape
        if shape not in self._results:
            none = np.zeros((shape[1], 0))
            self._results[shape] = StepResult(
                np.zeros(shape, np.int64),
                np.zeros(shape, np.float32),
                none.astype(np.int64),
                none.astype(np.float32),
            )
        return FinishedRun(self._results[shape])

    def start_beams(self, batch: BeamBatch) -> Run[BeamBatchResult]:
        """Raise: its sessions do not search."""
        raise NotImplementedError

    def read_state(self, slot: int) -> State:
        """Return no state."""
        del slot
        return ()

    def write_state(self, slot: int, state: State) -> None:
        """Do nothing."""
