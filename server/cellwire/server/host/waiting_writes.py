"""The writes that wait for a store, those of each session joined.

What a session's writes take is bounded by its text, and does not grow with the time they wait: a
later cut of the text takes away what waits beyond it, and only the newest state is kept.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from cellwire.server.state.change import (
    REMEMBERED_OPERATIONS,
    Change,
    DoneOperation,
    StateRecord,
)
from cellwire.server.store.writes import (
    AddChange,
    Create,
    Delete,
    KeepUntil,
    PutState,
    Release,
    Write,
)

_SESSION_BYTES = 1_024  # of the objects around a session's texts and state
_TOKEN_BYTES = 4


class JoinedChange:
    """Changes that follow each other, as one: `state.change.joined`, without copying the text."""

    def __init__(self, change: Change) -> None:
        self._last = change
        self._offset = change.offset
        self._tokens = change.tokens
        self._owned = False  # whether the tokens may be changed
        self._done = deque(change.done, REMEMBERED_OPERATIONS)

    def add(self, change: Change) -> None:
        """Join the next change to them."""
        kept = change.offset - self._offset
        if kept <= 0:
            self._offset, self._tokens, self._owned = change.offset, change.tokens, False
        else:
            if not self._owned:
                self._tokens, self._owned = array("I", self._tokens), True
            del self._tokens[kept:]
            self._tokens.extend(change.tokens)
        self._done.extend(change.done)
        self._last = change

    @property
    def size(self) -> int:
        """The bytes it takes, about."""
        return len(self._tokens) * _TOKEN_BYTES + len(self._done) * _SESSION_BYTES // 4

    def change(self) -> Change:
        """Return them as one change; nothing may be added afterwards."""
        done: tuple[DoneOperation, ...] = tuple(self._done)
        return replace(self._last, offset=self._offset, tokens=self._tokens, done=done)


class SessionWrites:
    """The writes of one session, joined: at most one of each kind."""

    def __init__(self, delete: Delete | None = None) -> None:
        self._delete = delete  # of what was stored before them
        self._create: Create | None = None
        self._changes: JoinedChange | None = None
        self._state: PutState | None = None
        self._keep: KeepUntil | None = None
        self._release: Release | None = None
        self.revision: int | None = None  # that is safe with them; None if they change no text

    def add(self, write: Create | AddChange | PutState | KeepUntil | Release) -> None:
        """Add the next write."""
        self._release = None  # a session that is written again is held again
        match write:
            case Release():
                self._release = write
            case Create():
                self._create, self.revision = write, 0
            case AddChange(change=change):
                if self._changes is None:
                    self._changes = JoinedChange(change)
                else:
                    self._changes.add(change)
                self.revision = change.revision
            case PutState():
                self._state = write
            case KeepUntil():
                self._keep = write

    @property
    def size(self) -> int:
        """The bytes they take, about."""
        text = self._changes.size if self._changes else 0
        state = _size_of(self._state.state) if self._state else 0
        return _SESSION_BYTES + text + state

    def writes(self, session_id: str) -> Iterator[Write]:
        """Return them in the order in which they must be carried out."""
        if self._delete:
            yield self._delete
        if self._create:
            yield self._create
        if self._changes:
            yield AddChange(session_id, self._changes.change())
        if self._state:
            yield self._state
        if self._keep:
            yield self._keep
        if self._release:
            yield self._release


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


def _size_of(state: StateRecord) -> int:
    return sum(map(len, state.state))
