"""An engine of plain sessions that generate without end, joined at times by another session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.limits import DEFAULT_REWIND_WINDOW, MAX_GENERATE_TOKENS
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import CloseSession, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.step_budget import StepBudget
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for

_NO_READER = Limits(read_ahead_tokens=1_000_000_000)
_MAX_BATCH = 256  # the daemon's default
_TEXT = np.arange(4, dtype=np.uint32)
_SINGLE_STEP = "single-step"
_WARM_UP_RUNS = 8


@dataclass(frozen=True, slots=True)
class Paces:
    """Tokens per second of two kinds of sessions that run beside each other."""

    plain: float  # of all plain sessions together
    single_step: float


class MixedEngine:
    """An engine as the daemon has it, driven in the caller's thread."""

    def __init__(self, model: Path, threads: int, sessions: int) -> None:
        cell = read_cell(model)
        slots = (sessions + 1) * slots_for(DEFAULT_REWIND_WINDOW) + 2 * _MAX_BATCH
        arena = Arena(slots)
        runtime = Runtime(cell, arena.slots, _MAX_BATCH, Execution(threads=threads))
        self._engine = Engine(
            runtime, arena, _NO_READER, max_sessions=sessions + 1, max_batch=_MAX_BATCH
        )
        for number in range(sessions):
            self._start(f"{number}", Generate(2, MAX_GENERATE_TOKENS, Sampling()), seed=number)
        self._max_steps = self._budget()

    def _start(self, session_id: str, generate: Generate, seed: int) -> None:
        """Open a session that generates after a short text."""
        self._engine.handle(OpenSession(session_id, 0, seed, DEFAULT_REWIND_WINDOW))
        for operation in (Append(1, _TEXT), generate):
            self._engine.handle(SubmitOperation(session_id, operation))

    def _budget(self) -> int:
        """Return how many steps a run of the plain sessions may have."""
        budget = StepBudget()
        for _ in range(_WARM_UP_RUNS):
            steps, start_s = self._engine.steps, perf_counter()
            self._engine.step(budget.steps)
            budget.record(self._engine.steps - steps, perf_counter() - start_s)
        return budget.steps

    def alone(self, seconds: float) -> float:
        """Return the plain sessions' tokens per second."""
        return self._measure(seconds).plain

    def beside(self, generate: Generate, seconds: float) -> Paces:
        """Return the tokens per second while one more session generates."""
        self._start(_SINGLE_STEP, generate, seed=0)
        try:
            return self._measure(seconds)
        finally:
            self._engine.handle(CloseSession(_SINGLE_STEP))

    def _measure(self, seconds: float) -> Paces:
        for _ in range(_WARM_UP_RUNS):
            self._engine.step(self._max_steps)
        tokens = single_step = 0
        start_s = now_s = perf_counter()
        while now_s - start_s < seconds:
            for event in self._engine.step(self._max_steps):
                assert isinstance(event, Written), event
                tokens += len(event.tokens)
                single_step += len(event.tokens) * (event.session_id == _SINGLE_STEP)
            now_s = perf_counter()
        elapsed_s = now_s - start_s
        return Paces((tokens - single_step) / elapsed_s, single_step / elapsed_s)
