"""The writes that wait for a store, those of each session joined.

What a session's writes take is bounded by its text, and does not grow with the time they wait: a
later cut of the text takes away what waits beyond it, and only the newest state is kept.
"""

from __future__ import annotations

from cellwire.server.host.session_writes import SessionWrites
from cellwire.server.store.writes import Delete, Write


class WaitingWrites:
    """The writes of all sessions that wait, by session."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionWrites] = {}
        self.size = 0  # the bytes they take, about

    def __len__(self) -> int:
        """Return the number of sessions with writes."""
        return len(self._sessions)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    def add(self, write: Write) -> None:
        """Add the next write."""
        session = self._sessions.get(write.session_id)
        self.size -= session.size if session else 0
        if isinstance(write, Delete):
            session = SessionWrites(write)
        else:
            session = session or SessionWrites()
            session.add(write)
        self._sessions[write.session_id] = session
        self.size += session.size

    def drop(self, session_id: str) -> None:
        """Forget the writes of a session, if there are any."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self.size -= session.size

    def writes(self) -> list[Write]:
        """Return all writes in an order in which they can be carried out; none may be added."""
        return [write for name, session in self._sessions.items() for write in session.writes(name)]

    def revisions(self) -> dict[str, int]:
        """Return the revisions that are safe with these writes, by session."""
        return {
            name: session.revision
            for name, session in self._sessions.items()
            if session.revision is not None
        }
