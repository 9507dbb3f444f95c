"""What a store is told of one session, from the session's events."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace

from cellwire.server.host.safe_revisions import SafeRevisions
from cellwire.server.session.change_log import ChangeLog, first_change
from cellwire.server.session.events import (
    Appended,
    Attached,
    Event,
    Finished,
    Rejected,
    Rewound,
    Written,
)
from cellwire.server.state.change import Change, StateRecord
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.stored_session import Header
from cellwire.server.store.writes import AddChange, Create, PutState, Write

STATE_INTERVAL = 512
"""After so many more tokens a session's state is stored anew: what a session that wakes replays."""


class SessionRecord:
    """Turns the events of a session into writes, and knows which revisions are safe."""

    def __init__(
        self,
        session_id: str,
        rewind_window: int,
        write: Callable[[Write], None],
        read_state: Callable[[], None],
    ) -> None:
        """`read_state` lets the engine report the session's oldest state."""
        self.changes = ChangeLog(rewind_window)
        self.safe = SafeRevisions()
        self._id = session_id
        self._write = write
        self._read_state = read_state
        self._tokens_since_state = 0
        self.exists = False  # in the store, or about to be

    def create(self, header: Header) -> None:
        """Begin with an empty text."""
        self.exists = True
        self._write(Create(self._id, header))

    def create_from(
        self, header: Header, snapshot: SessionSnapshot, earlier: array[int] | None = None
    ) -> None:
        """Begin with the text and the state of a fork or an import, and the `earlier` text."""
        change, state = first_change(snapshot, earlier)
        self.changes = ChangeLog.resumed(snapshot, change.revision)
        self.create(replace(header, text_start=change.offset))
        self._add(change)
        self.put_state(state)

    def resume(self, snapshot: SessionSnapshot, changes: ChangeLog) -> None:
        """Go on with a session that the store has: all of it is safe."""
        self.exists = True
        self.changes = changes
        self._tokens_since_state = snapshot.length - snapshot.tokens_read
        self.safe.add(changes.revision, changes.length)
        self.safe.advance(changes.revision)

    def follow(self, event: Event) -> Event:
        """Store what an event changes, and return the event with its revision."""
        if isinstance(event, Attached):
            done, revision = tuple(self.changes.done), self.changes.revision
            return replace(event, done=done, revision=revision)
        change = self.changes.add(event)
        if change is None:
            return event
        self._add(change)
        if isinstance(event, Written):
            return event._replace(revision=change.revision)
        assert isinstance(event, Appended | Finished | Rewound | Rejected)
        return replace(event, revision=change.revision)

    def put_state(self, state: StateRecord) -> None:
        """Store a state of the cell."""
        if state.tokens_read:
            self._write(PutState(self._id, state))

    def _add(self, change: Change) -> None:
        self._write(AddChange(self._id, change))
        self.safe.add(change.revision, change.length)
        self._tokens_since_state += len(change.tokens)
        if self._tokens_since_state >= STATE_INTERVAL:
            self._tokens_since_state = 0
            self._read_state()
