"""The runs of an engine.

Where a run goes on by itself, on a card, one is in flight between two steps: the host prepares the
next one, and commits the one before, while the card works. Nothing but its run touches the states,
the text and the task of a session in flight; commands to it wait until its run is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine.commands import Command
from cellwire.server.engine.scheduler import Scheduler
from cellwire.server.engine.started_run import StartedRun, start_run
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.session.session import Session
from cellwire.server.session.task import RunKind


class Runs:
    """Starts the runs of the sessions whose turn it is, and commits them in the same order."""

    def __init__(
        self,
        stepper: Stepper,
        scheduler: Scheduler,
        update: Callable[[Session], None],
        handle: Callable[[Command], None],
    ) -> None:
        """Call `update` for each session after its run, and `handle` for deferred commands."""
        self.steps = 0  # of rows, since the start
        self.beam_steps = 0
        self.committed: tuple[RunKind, int] | None = None  # by the last step: the kind, the steps
        self._stepper = stepper
        self._scheduler = scheduler
        self._update = update
        self._handle = handle
        self._in_flight: StartedRun | None = None
        self.sessions_in_flight: Collection[Session] = ()
        self._deferred: list[Command] = []  # until the run in flight is committed

    def defers(self, command: Command, session: Session) -> bool:
        """Keep a command until its session's run is committed; False if it is not in flight."""
        if session not in self.sessions_in_flight:
            return False
        self._deferred.append(command)
        return True

    def step(self, max_steps: int) -> None:
        """Start a run, and commit the one in flight.

        If none is in flight, the one just started is committed, unless another can run meanwhile:
        the next step starts that.
        """
        self.committed = None
        if not self._scheduler.next_overlaps:
            self._step_alone(max_steps)
            return
        before, deferred = self._put(self._start(max_steps))
        if before is not None:
            self._commit(before, deferred)
        elif not self._scheduler.has_next(self.sessions_in_flight):
            self.finish()

    def _step_alone(self, max_steps: int) -> None:
        """Commit the run in flight; without one, carry out the next.

        Not both: the time of a step is that of the run that it commits.
        """
        if self._in_flight is not None:
            self.finish()
        elif run := self._start(max_steps):
            self._commit(run, ())

    def finish(self) -> None:
        """Commit the run in flight, if there is one."""
        run, deferred = self._put(None)
        if run is not None:
            self._commit(run, deferred)

    def handle_deferred(self) -> None:
        """Carry out the commands that wait, after their run; without one, leave it in flight."""
        if self._deferred:
            self.finish()

    def _put(self, run: StartedRun | None) -> tuple[StartedRun | None, list[Command]]:
        """Put a run in the place of the one in flight; return that, and what waits for it."""
        before = self._in_flight, self._deferred
        self._in_flight, self._deferred = run, []
        self.sessions_in_flight = () if run is None else frozenset(run.sessions)
        return before

    def _start(self, max_steps: int) -> StartedRun | None:
        """Start the next run; None if there is none, or if it fails at once."""
        kind = self._scheduler.next_kind
        sessions = self._scheduler.next_batch(self.sessions_in_flight)
        if not sessions:
            return None
        try:
            run = start_run(self._stepper, kind, sessions, max_steps)
        except NotCompiled as error:
            for session in sessions:
                session.fail(error)
            self._update_all(sessions)
            return None
        except StepFailed as error:
            self._close(sessions, error)
            return None
        if kind.beam_width:
            self.beam_steps += run.steps
        else:
            self.steps += run.steps
        return run

    def _commit(self, run: StartedRun, deferred: Iterable[Command]) -> None:
        """Wait for a run, record its results, and carry out the commands that waited for it."""
        self.committed = run.kind, run.steps
        try:
            results = run.wait()
        except StepFailed as error:
            self._close(run.sessions, error)
        else:
            for session, result in zip(run.sessions, results, strict=True):
                if result.broken:
                    session.close(None, StepFailed("the model's output is not a number"))
                else:
                    session.active.commit(result)
            self._update_all(run.sessions)
        for command in deferred:
            self._handle(command)

    def _close(self, sessions: Collection[Session], error: StepFailed) -> None:
        """End the sessions of a run that failed: their states may be spoiled, and no others."""
        for session in sessions:
            session.close(None, error)
        self._update_all(sessions)

    def _update_all(self, sessions: Collection[Session]) -> None:
        update = self._update
        for session in sessions:
            update(session)

    def check_integrity(self) -> None:
        """Raise AssertionError unless every session in flight still takes part in runs."""
        for session in self.sessions_in_flight:
            assert session.runnable, "a session in flight was changed"
