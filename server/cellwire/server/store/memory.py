"""A store in the process's memory: for tests, and the plain model of the others."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cellwire.model_file.text_end import BEGINNING, TextEnd
from cellwire.server.errors import DamagedRecord
from cellwire.server.state.change import (
    Change,
    DoneOperation,
    Restoration,
    StateRecord,
    remembered,
)
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession
from cellwire.server.store.checks import (
    Position,
    is_checkpoint_due,
    is_new_change,
    is_new_session,
    is_new_state,
    no_checkpoint,
    not_stored,
)
from cellwire.server.store.store import RefusedWrite
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
    effective,
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session."""

    header: Header
    tokens: array[int]  # all of the text
    revision: int = 0
    state: StateRecord | None = None
    end: TextEnd = BEGINNING
    rewind_floor: int = 0
    blank_offset: int = -1
    done: tuple[DoneOperation, ...] = ()
    expires_s: float | None = None
    checkpoints: Mapping[str, _Kept] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        settled = self.state.tokens_read if self.state else self.header.text_start
        return Position(self.revision, self.header.text_start + len(self.tokens), settled)

    def head(self, session_id: str) -> StoredHead:
        length = self.position.length
        return StoredHead(session_id, self.header, self.revision, length, self.expires_s)

    def stored(self, session_id: str, last_tokens: int) -> StoredSession:
        position, first = self.position, self.header.text_start
        start = max(first, min(position.settled, position.length - last_tokens))
        return StoredSession(
            head=self.head(session_id),
            text_start=start,
            tokens=self.tokens[start - first :],
            state=self.state,
            end=self.end,
            rewind_floor=self.rewind_floor,
            blank_offset=self.blank_offset,
            done=self.done,
            checkpoints=tuple(
                NamedCheckpoint(name, kept.position.length, kept.end)
                for name, kept in sorted(self.checkpoints.items())
            ),
        )

    def with_checkpoint(self, name: str) -> _Kept:
        kept = replace(self, checkpoints={}, expires_s=None)
        return replace(self, checkpoints={**self.checkpoints, name: kept})

    def without_checkpoint(self, name: str) -> _Kept:
        left = {other: kept for other, kept in self.checkpoints.items() if other != name}
        return replace(self, checkpoints=left)

    def restored(self, session_id: str, restoration: Restoration) -> _Kept:
        kept = self.checkpoints.get(restoration.name)
        if kept is None:
            raise RefusedWrite(session_id, no_checkpoint(session_id, restoration.name))
        return replace(
            kept,
            revision=restoration.revision,
            done=remembered((*self.done, *restoration.done)),
            expires_s=self.expires_s,
            checkpoints=self.checkpoints,
        )

    def changed(self, change: Change) -> _Kept:
        return replace(
            self,
            tokens=self.tokens[: change.offset - self.header.text_start] + change.tokens,
            revision=change.revision,
            end=change.end,
            rewind_floor=change.rewind_floor,
            blank_offset=change.blank_offset,
            done=remembered((*self.done, *change.done)),
        )


class MemoryStore:
    """Keeps sessions as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, _Kept] = {}

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes: all, or none."""
        with self._lock:
            sessions = dict(self._sessions)
            for write in effective(writes):
                if not isinstance(write, Release):
                    _carry_out(write, sessions)
            self._sessions = sessions

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens."""
        return self._find(session_id).stored(session_id, last_tokens)

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint."""
        kept = self._find(session_id).checkpoints.get(name)
        if kept is None:
            raise no_checkpoint(session_id, name)
        return kept.stored(session_id, last_tokens)

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state."""
        return self._find(session_id).head(session_id)

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return a part of a text."""
        kept = self._find(session_id)
        first = kept.header.text_start
        return kept.tokens[max(0, start - first) : max(0, end - first)]

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return sessions in the order of their ids."""
        ids = sorted(name for name in self._sessions if name > after)
        return [self._sessions[name].head(name) for name in ids[:limit]]

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of sessions that have expired."""
        due = [
            (kept.expires_s, name)
            for name, kept in self._sessions.items()
            if kept.expires_s is not None and kept.expires_s <= now_s
        ]
        return [name for _, name in sorted(due)[:limit]]

    def reopen(self) -> None:
        """Do nothing: memory does not fail."""

    def close(self) -> None:
        """Forget all sessions."""
        self._sessions = {}

    def _find(self, session_id: str) -> _Kept:
        kept = self._sessions.get(session_id)
        if kept is None:
            raise not_stored(session_id)
        return kept


def _carry_out(write: Write, sessions: dict[str, _Kept]) -> None:
    name = write.session_id
    kept = sessions.get(name)
    match write:
        case Create(header=header):
            if is_new_session(name, header, kept.header if kept else None):
                sessions[name] = _Kept(header, array("I"))
        case Delete():
            sessions.pop(name, None)
        case _ if kept is None:
            raise RefusedWrite(name, not_stored(name))
        case Release():
            pass
        case _:
            sessions[name] = _changed(write, kept)


def _changed(write: AddChange | PutState | KeepUntil | CheckpointWrite, kept: _Kept) -> _Kept:
    name, position = write.session_id, kept.position
    match write:
        case AddChange(change=change):
            return kept.changed(change) if is_new_change(name, change, position) else kept
        case PutState(state=state):
            return replace(kept, state=state) if is_new_state(name, state, position) else kept
        case KeepUntil(expires_s=expires_s):
            return replace(kept, expires_s=expires_s)
        case _:
            return _at_checkpoint(write, kept) if is_checkpoint_due(write, position) else kept


def _at_checkpoint(write: CheckpointWrite, kept: _Kept) -> _Kept:
    match write:
        case PutCheckpoint():
            return kept.with_checkpoint(write.name)
        case DiscardCheckpoint():
            return kept.without_checkpoint(write.name)
        case RestoreCheckpoint():
            return kept.restored(write.session_id, write.restoration)
