"""A run of an engine, from its start to its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cellwire.server.batch import beam_step
from cellwire.server.batch.beam_step import BeamInput, BeamResult
from cellwire.server.batch.row import Row, RowResult, batch_of, row_results
from cellwire.server.batch.stepper import Stepper
from cellwire.server.session.session import Session
from cellwire.server.session.task import RunKind

Wait = Callable[[], Sequence[RowResult | BeamResult]]


class StartedRun:
    """A run of some sessions."""

    __slots__ = ("kind", "sessions", "steps", "wait")

    def __init__(self, kind: RunKind, sessions: Sequence[Session], steps: int, wait: Wait) -> None:
        """`wait` returns the sessions' results, in their order; StepFailed."""
        self.kind = kind
        self.sessions = sessions
        self.steps = steps
        self.wait = wait


def start_run(
    stepper: Stepper, kind: RunKind, sessions: Sequence[Session], max_steps: int
) -> StartedRun:
    """Start a run of the sessions' rows, or of their searches. NotCompiled, StepFailed.

    Its steps are capped by the given maximum, and by the session that needs the fewest.
    """
    steps = min(max_steps, *(session.active.max_steps for session in sessions))
    if kind.beam_width:
        searches = [session.active.beam_input() for session in sessions]
        steps, wait = _start_beams(stepper, searches, steps)
    else:
        steps = stepper.supported_steps(steps)
        steps, wait = _start_rows(stepper, [s.active.row(steps) for s in sessions], steps)
    return StartedRun(kind, sessions, steps, wait)


def _start_rows(stepper: Stepper, rows: list[Row], steps: int) -> tuple[int, Wait]:
    steps = _steps_for(stepper, max(row.steps for row in rows), steps)
    run = stepper.start(batch_of(rows, steps))
    return steps, lambda: row_results(rows, run.wait())


def _steps_for(stepper: Stepper, longest: int, steps: int) -> int:
    """Return the fewest supported steps, up to `steps`, that the longest row can be taken in."""
    if stepper.supported_steps(longest) == longest:
        return longest
    while (fewer := stepper.supported_steps(steps - 1)) > longest:
        steps = fewer
    return steps


def _start_beams(stepper: Stepper, searches: list[BeamInput], steps: int) -> tuple[int, Wait]:
    rows = len(searches) * len(searches[0].token)
    steps = stepper.supported_steps(min(steps, beam_step.beam_steps_for(rows)))
    run = stepper.start_beams(beam_step.batch_of(searches, steps))
    return steps, lambda: beam_step.beam_results(run.wait())
