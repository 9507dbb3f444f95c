"""The engine: sessions, their slots, and the step that moves them all.

It runs nothing by itself and knows no clock, thread or network. Whoever owns it calls its methods
from one thread, `step()` again and again while there are runnable sessions, and passes on the
events each call returns.
"""

from __future__ import annotations

import math

import numpy as np

from cellwire.server.arena import Arena
from cellwire.server.errors import Full, StepFailed
from cellwire.server.events import Closed, Event
from cellwire.server.operations import Operation
from cellwire.server.sampling import uniforms
from cellwire.server.scheduler import Scheduler
from cellwire.server.session import Limits, Session
from cellwire.server.step import StepBatch, Stepper, StepResult


class Engine:
    """Sessions of one model, stepped together."""

    def __init__(self, stepper: Stepper, arena: Arena, max_batch: int, limits: Limits) -> None:
        self._stepper = stepper
        self._arena = arena
        self._limits = limits
        self._scheduler = Scheduler(max_batch)
        self._sessions: dict[str, Session] = {}
        self._events: list[Event] = []

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return self._scheduler.idle

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def step(self) -> list[Event]:
        """Move every runnable session on by one token, as many as one batch takes."""
        sessions = self._scheduler.next_batch()
        if sessions:
            try:
                result = self._stepper.step(plan(sessions))
            except StepFailed as error:
                self._fail(sessions, error)
            else:
                self._commit(sessions, result)
        return self._take_events()

    def _commit(self, sessions: list[Session], result: StepResult) -> None:
        """Hand each session what the step chose for it."""
        chosen, log_probabilities = result.chosen.tolist(), result.log_probability.tolist()
        for session, token, log_probability in zip(
            sessions, chosen, log_probabilities, strict=True
        ):
            if math.isnan(log_probability):
                session.close(None, StepFailed("the model's output is not a number"))
            else:
                session.commit(token, log_probability)
            if not session.runnable:
                self._settle(session)

    def _fail(self, sessions: list[Session], error: StepFailed) -> None:
        """End the sessions whose states a failed step may have spoiled, and no others."""
        for session in sessions:
            session.close(None, error)
            self._settle(session)

    def open(self, session_id: str, operation_id: int, seed: int) -> None:
        """Start a session; closed at once, saying why, if there is no slot left."""
        try:
            slot = self._arena.allocate()
        except Full as error:
            self._report(Closed(session_id, operation_id, error))
            return
        self._sessions[session_id] = Session(
            session_id, operation_id, slot, seed, self._limits, self._report
        )

    def submit(self, session_id: str, operation: Operation) -> None:
        """Let a session carry out an operation after those before it."""
        if session := self._sessions.get(session_id):
            session.submit(operation)
            self._settle(session)

    def finish(self, session_id: str) -> None:
        """Let a session end after the operations it has."""
        if session := self._sessions.get(session_id):
            session.finish()
            self._settle(session)

    def cancel(self, session_id: str, operation_id: int, target: int) -> None:
        """End an operation of a session, overtaking all others."""
        if session := self._sessions.get(session_id):
            session.cancel(operation_id, target)
            self._settle(session)

    def grant(self, session_id: str, chars: int) -> None:
        """Let a session generate as many characters more as its reader has taken."""
        if session := self._sessions.get(session_id):
            session.grant(chars)
            self._settle(session)

    def close(self, session_id: str) -> None:
        """End a session at once, whatever it is doing; nothing if it has ended already."""
        if session := self._sessions.get(session_id):
            session.close(None)
            self._settle(session)

    def _settle(self, session: Session) -> None:
        """Bring scheduler and arena up to date with what happened to a session."""
        self._scheduler.update(session)
        if session.closed:
            del self._sessions[session.id]
            self._arena.free(session.slot)

    def _report(self, event: Event) -> None:
        self._events.append(event)

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def check_integrity(self) -> None:
        """Raise AssertionError unless sessions, slots and the scheduler's round agree."""
        self._arena.check_integrity()
        sessions = self._sessions.values()
        assert {session.slot for session in sessions} == self._arena.used, "a slot has no session"
        assert frozenset(s for s in sessions if s.runnable) == self._scheduler.runnable
        for session in sessions:
            session.check_integrity()


def plan(sessions: list[Session]) -> StepBatch:
    """Return the batch of one step: a row for each session, in the same order."""
    rows = [session.row() for session in sessions]
    return StepBatch(
        token=np.array([row.token for row in rows], np.int64),
        read_slot=np.array([row.read_slot for row in rows], np.int64),
        write_slot=np.array([row.write_slot for row in rows], np.int64),
        forced=np.array([row.forced for row in rows], np.int64),
        inverse_temperature=np.array(
            [row.sampling.inverse_temperature for row in rows], np.float32
        ),
        uniform=np.where(
            [row.sampling.greedy for row in rows],
            np.float32(0),
            uniforms(
                np.array([row.key for row in rows], np.uint64),
                np.array([row.position for row in rows], np.uint64),
            ),
        ),
        top_k=np.array([row.sampling.top_k for row in rows], np.int64),
    )
