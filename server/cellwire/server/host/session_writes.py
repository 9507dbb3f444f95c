"""The writes of one session that wait for a store, joined."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from cellwire.server.state.change import REMEMBERED_OPERATIONS, Change, DoneOperation
from cellwire.server.store.writes import (
    AddChange,
    CheckpointWrite,
    Create,
    Delete,
    DiscardCheckpoint,
    KeepUntil,
    PutCheckpoint,
    PutState,
    Release,
    RestoreCheckpoint,
    Write,
)

_SESSION_BYTES = 1_024  # of the objects around a session's texts and state
_TOKEN_BYTES = 4

_InOrder = AddChange | PutState | CheckpointWrite
_NAMING = PutCheckpoint | DiscardCheckpoint


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
    """The writes of one session, joined: at most one of each kind between two checkpoints.

    Of each named checkpoint only the newest waits, unless the session is restored in between.
    """

    def __init__(self, delete: Delete | None = None) -> None:
        self._delete = delete  # of what was stored before them
        self._create: Create | None = None
        self._before: list[_InOrder] = []  # up to the last write of a checkpoint
        self._before_bytes = 0
        self._changes: JoinedChange | None = None
        self._state: PutState | None = None
        self._keep: KeepUntil | None = None
        self._release: Release | None = None
        self.revision: int | None = None  # that is safe with them; None if they change no text

    def add(self, write: Create | KeepUntil | Release | _InOrder) -> None:
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
            case _:
                self._add_checkpoint(write)

    def _add_checkpoint(self, write: CheckpointWrite) -> None:
        """Let what waits be carried out before a write of a checkpoint."""
        if isinstance(write, RestoreCheckpoint):
            self._state = None  # of a text that is gone then
            self.revision = write.restoration.revision
        else:
            self._forget_earlier(write.name)
        before = [*self._in_order(write.session_id), write]
        self._before, self._changes, self._state = before, None, None
        self._before_bytes = sum(map(_bytes_of, before))

    def _forget_earlier(self, name: str) -> None:
        """Forget what was to become of a name since the last restore, which may need it."""
        last = [i for i, w in enumerate(self._before, 1) if isinstance(w, RestoreCheckpoint)]
        start = last[-1] if last else 0
        since = self._before[start:]
        if not any(isinstance(w, _NAMING) and w.name == name for w in since):
            return
        later = self._in_order("")[len(self._before) :]
        self._before, self._changes, self._state = self._before[:start], None, None
        for write in [*since, *later]:
            if not (isinstance(write, _NAMING) and write.name == name):
                self.add(write)

    def _in_order(self, session_id: str) -> list[_InOrder]:
        writes = [*self._before]
        if self._changes:
            writes.append(AddChange(session_id, self._changes.change()))
        if self._state:
            writes.append(self._state)
        return writes

    @property
    def size(self) -> int:
        """The bytes they take, about."""
        text = self._changes.size if self._changes else 0
        state = _bytes_of(self._state) if self._state else 0
        return _SESSION_BYTES + self._before_bytes + text + state

    def writes(self, session_id: str) -> Iterator[Write]:
        """Return them in the order in which they must be carried out."""
        if self._delete:
            yield self._delete
        if self._create:
            yield self._create
        yield from self._in_order(session_id)
        if self._keep:
            yield self._keep
        if self._release:
            yield self._release


def _bytes_of(write: _InOrder) -> int:
    match write:
        case AddChange(change=change):
            return JoinedChange(change).size
        case PutState(state=state):
            return sum(map(len, state.state))
        case _:
            return _SESSION_BYTES // 4
