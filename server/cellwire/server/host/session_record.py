"""What a store is told of one session, from the session's events."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import replace

from cellwire.server.batch.limits import MAX_CHECKPOINTS
from cellwire.server.errors import CellwireError, NotFound, ResourceExhausted
from cellwire.server.host.safe_revisions import SafeRevisions
from cellwire.server.session.change_log import ChangeLog, first_change
from cellwire.server.session.done_operation import LastAnswer
from cellwire.server.session.events import (
    Attached,
    Checkpointed,
    CheckpointRestored,
    Discarded,
    Event,
    Rejected,
    Written,
)
from cellwire.server.state.change import Change, StateRecord
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.stored_session import Header
from cellwire.server.store.writes import (
    AddChange,
    Create,
    DiscardCheckpoint,
    PutCheckpoint,
    PutState,
    RestoreCheckpoint,
    Write,
)

STATE_INTERVAL = 512
"""After so many more tokens a session's state is stored anew: what a session that wakes replays."""

STATE_PAUSE_S = 0.5
MOST_UNREAD = 4_096
"""At least so long passes between two, unless so many tokens were added: quick models would store
little but states."""

LEAVING_INTERVAL = 128
"""Likewise of a session that leaves, and may wake soon."""


class SessionRecord:
    """Turns the events of a session into writes, and knows which revisions are safe."""

    def __init__(
        self,
        session_id: str,
        rewind_window: int,
        write: Callable[[Write], None],
        read_state: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read_state` lets the engine report the session's oldest state."""
        self.changes = ChangeLog(rewind_window)
        self.safe = SafeRevisions()
        self._id = session_id
        self._write = write
        self._read_state = read_state
        self._tokens_since_state = 0
        self._clock = clock
        self._next_state_s = 0.0
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
        if isinstance(event, CheckpointRestored):
            return self._restore(event)
        event = self._checked(event)
        change = self.changes.add(event)
        if change is None:
            return event
        self._add(change)
        if isinstance(event, Written):
            return event._replace(revision=change.revision)
        if isinstance(event, Checkpointed):
            self._write(PutCheckpoint(self._id, event.name, change.revision))
        elif isinstance(event, Discarded):
            self._write(DiscardCheckpoint(self._id, event.name, change.revision))
        assert isinstance(event, LastAnswer)
        return replace(event, revision=change.revision)

    def _checked(self, event: Event) -> Event:
        """Return an event, or that its operation is rejected: only the host knows the names."""
        error: CellwireError | None = None
        match event:
            case Checkpointed(name=name) if name not in self.changes.checkpoints:
                error = self._too_many()
            case Discarded(name=name) if name not in self.changes.checkpoints:
                error = self.unknown(name)
        if error is None:
            return event
        assert isinstance(event, Checkpointed | Discarded)
        return Rejected(event.session_id, event.operation_id, error, after=event.after)

    def _too_many(self) -> CellwireError | None:
        if len(self.changes.checkpoints) < MAX_CHECKPOINTS:
            return None
        return ResourceExhausted(
            f"the session has {MAX_CHECKPOINTS} checkpoints, which are the most; discard one, or "
            "use a name again"
        )

    def unknown(self, name: str) -> NotFound:
        """Return the error of a name that no checkpoint has."""
        known = ", ".join(map(repr, sorted(self.changes.checkpoints)))
        return NotFound(
            f"the session has no checkpoint {name!r}; it has " + (known or "none: keep one first")
        )

    def _restore(self, event: CheckpointRestored) -> CheckpointRestored:
        assert event.snapshot is not None
        restoration = self.changes.restored(event)
        self._write(RestoreCheckpoint(self._id, restoration))
        self.safe.add(restoration.revision, self.changes.length)
        self._tokens_since_state = event.snapshot.length - event.snapshot.tokens_read
        return replace(event, revision=restoration.revision)

    def read_state_to_leave(self) -> None:
        """Have a state stored, unless the one before is as good: the next wake replays less."""
        if self._tokens_since_state >= LEAVING_INTERVAL:
            self._tokens_since_state = 0
            self._read_state()

    def put_state(self, state: StateRecord) -> None:
        """Store a state of the cell."""
        if state.tokens_read:
            self._write(PutState(self._id, state))

    def _read_state_if_due(self) -> None:
        now_s = self._clock()
        if now_s >= self._next_state_s or self._tokens_since_state >= MOST_UNREAD:
            self._next_state_s = now_s + STATE_PAUSE_S
            self._tokens_since_state = 0
            self._read_state()

    def _add(self, change: Change) -> None:
        self._write(AddChange(self._id, change))
        self.safe.add(change.revision, change.length)
        self._tokens_since_state += len(change.tokens)
        if self._tokens_since_state >= STATE_INTERVAL:
            self._read_state_if_due()
