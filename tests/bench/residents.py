"""Engines in this process, one of them full of idle sessions: what `idle` measures.

python -m tests.bench.residents MODEL --sessions 1000000 --threads 2 --rounds 7 --slice-s 0.2
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from tests.bench.child import resident_bytes
from tests.bench.idle import TEXT_TOKENS
from tests.bench.pace import figure, in_turns, ratios

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.limits import MAX_GENERATE_TOKENS
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for

GENERATING = 64
MAX_BATCH = 256
WINDOW = 0

_ENDLESS = Limits(read_ahead_tokens=1_000_000_000)  # no reader


class Residents:
    """An engine and its sessions."""

    def __init__(self, cell: Cell, sessions: int, threads: int) -> None:
        sessions += GENERATING
        arena = Arena(sessions * slots_for(WINDOW))
        runtime = Runtime(cell, arena.slots, MAX_BATCH, Execution(threads=threads))
        self._engine = Engine(runtime, arena, _ENDLESS, max_sessions=sessions, max_batch=MAX_BATCH)
        self._opened = 0
        self.worst_run_s = 0.0

    def add(self, sessions: int, *, generating: bool = False) -> None:
        """Open sessions and append to each, and let them generate or rest."""
        engine = self._engine
        for _ in range(sessions):
            session_id = f"{self._opened:032x}"
            engine.handle(OpenSession(session_id, 0, self._opened, WINDOW))
            # An array for each session, as texts come from the wire.
            append = Append(1, np.arange(TEXT_TOKENS, dtype=np.uint32))
            engine.handle(SubmitOperation(session_id, append))
            if generating:
                generate = Generate(2, MAX_GENERATE_TOKENS, Sampling())
                engine.handle(SubmitOperation(session_id, generate))
            self._opened += 1
            if self._opened % MAX_BATCH == 0 and not generating:
                self._settle()
        if not generating:
            self._settle()

    def _settle(self) -> None:
        """Step until the engine is idle."""
        while not self._engine.idle:
            self._engine.step()

    def step_s(self, seconds: float) -> float:
        """Return how long a step takes, measured for so long."""
        for _ in range(TEXT_TOKENS):  # to here from what the last round left
            self._engine.step()
        steps, start = self._engine.steps, perf_counter()
        now = start
        while now - start < seconds:
            self._engine.step()
            before, now = now, perf_counter()
            self.worst_run_s = max(self.worst_run_s, now - before)
        return (now - start) / (self._engine.steps - steps)


def _figures(options: argparse.Namespace) -> dict[str, float]:
    cell = read_cell(options.model)
    full, empty = (Residents(cell, n, options.threads) for n in (options.sessions, 0))
    full.add(MAX_BATCH)  # what is made once is not counted
    before = resident_bytes(os.getpid())
    full.add(options.sessions - MAX_BATCH)
    grown = resident_bytes(os.getpid()) - before
    for residents in (full, empty):
        residents.add(GENERATING, generating=True)
        residents.step_s(options.slice_s)
        residents.worst_run_s = 0.0
    turns = {"full": lambda: full.step_s(options.slice_s)}
    turns["empty"] = lambda: empty.step_s(options.slice_s)
    times = in_turns(turns, options.rounds)
    overhead = grown / (options.sessions - MAX_BATCH) - cell.state_bytes
    return {
        "idle.sessions": options.sessions,
        "idle.overhead_bytes": overhead,
        **figure("idle.step_ratio", ratios(times["full"], times["empty"])),
        **figure("idle.step_ms.full", [1_000 * time_s for time_s in times["full"]]),
        **figure("idle.step_ms.empty", [1_000 * time_s for time_s in times["empty"]]),
        "idle.run_worst_ms.full": 1_000 * full.worst_run_s,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--slice-s", type=float, required=True)
    sys.stdout.write(json.dumps(_figures(parser.parse_args())))
