"""The sessions of an engine, and which of them hold slots."""

from __future__ import annotations

from collections.abc import Iterator

from cellwire.server.batch.stepper import Stepper
from cellwire.server.errors import AlreadyExists, NotFound, ResourceExhausted, StepFailed
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena

# At least this share of all slots, as a divisor, is freed at once, so that sessions to park are
# not searched for each time one is opened.
_FREED_SHARE = 64


class SessionTable:
    """Sessions by id, in the order in which they last came to rest."""

    def __init__(self, arena: Arena, stepper: Stepper, max_sessions: int) -> None:
        self._arena = arena
        self._stepper = stepper
        self._max_sessions = max_sessions
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def get(self, session_id: str) -> Session | None:
        """Return a session, or None."""
        return self._sessions.get(session_id)

    def find(self, session_id: str) -> Session:
        """Return a session; NotFound if there is none."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id!r}")
        return session

    def add(self, session: Session) -> Session:
        """Add a session, and return it."""
        self._sessions[session.id] = session
        return session

    def update(self, session: Session) -> None:
        """Drop a session that is closed; one that rests is now the last to be parked."""
        if session.closed:
            self._sessions.pop(session.id, None)
        elif session.resting and session.id in self._sessions:
            self._sessions[session.id] = self._sessions.pop(session.id)

    def check_new(self, session_id: str) -> None:
        """Raise AlreadyExists if an id is taken, ResourceExhausted if no session may be added."""
        if session_id in self._sessions:
            raise AlreadyExists(f"there is a session {session_id!r} already")
        if len(self._sessions) >= self._max_sessions:
            raise ResourceExhausted(
                f"all {self._max_sessions:,} sessions are taken; try again later"
            )

    def make_room(self, slots: int, starting: Session | None = None) -> None:
        """Park sessions that rest until `slots` slots can be reserved, if so many rest.

        The one that rested longest goes first. `starting`, for which the room is made, is not
        parked.
        """
        if self._arena.unreserved >= slots:
            return
        wanted = max(slots, self._arena.capacity // _FREED_SHARE)
        for session in list(self._sessions.values()):
            if self._arena.unreserved >= wanted:
                return
            if session.resting and session is not starting:
                try:
                    session.state_history.park(self._stepper.read_state)
                except StepFailed:  # the reservation that follows reports the want of room
                    return
