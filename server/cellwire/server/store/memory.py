"""A store in the process's memory: for tests, and the plain model of the others."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cellwire.model_file.text_end import BEGINNING, TextEnd
from cellwire.server.errors import DamagedRecord
from cellwire.server.state.change import Change, DoneOperation, StateRecord, remembered
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession
from cellwire.server.store.checks import (
    Position,
    is_new_change,
    is_new_session,
    is_new_state,
    not_stored,
)
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import (
    AddChange,
    Create,
    Delete,
    KeepUntil,
    PutState,
    Release,
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

    @property
    def position(self) -> Position:
        settled = self.state.tokens_read if self.state else self.header.text_start
        return Position(self.revision, self.header.text_start + len(self.tokens), settled)

    def head(self, session_id: str) -> StoredHead:
        length = self.position.length
        return StoredHead(session_id, self.header, self.revision, length, self.expires_s)

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
        kept = self._find(session_id)
        position = kept.position
        start = min(position.settled, position.length - last_tokens)
        start = max(kept.header.text_start, start)
        return StoredSession(
            head=kept.head(session_id),
            text_start=start,
            tokens=kept.tokens[start - kept.header.text_start :],
            state=kept.state,
            end=kept.end,
            rewind_floor=kept.rewind_floor,
            blank_offset=kept.blank_offset,
            done=kept.done,
        )

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
        case AddChange(change=change):
            if is_new_change(name, change, kept.position):
                sessions[name] = kept.changed(change)
        case PutState(state=state):
            if is_new_state(name, state, kept.position):
                sessions[name] = replace(kept, state=state)
        case KeepUntil(expires_s=expires_s):
            sessions[name] = replace(kept, expires_s=expires_s)
