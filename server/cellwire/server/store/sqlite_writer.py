"""Writes carried out in a database, in the transaction of their commit."""

from __future__ import annotations

import sqlite3
from array import array
from dataclasses import dataclass

from cachetools import LRUCache

from cellwire.model_file.text_end import SETTLED
from cellwire.server.state.change import Change, StateRecord, after_state
from cellwire.server.state.stored_session import Header
from cellwire.server.store.checks import (
    Position,
    damaged,
    is_checkpoint_due,
    is_new_change,
    is_new_session,
    is_new_state,
    not_stored,
)
from cellwire.server.store.payload import ChangeRow, folded
from cellwire.server.store.record import Damaged
from cellwire.server.store.sqlite_checkpoints import Checkpoints
from cellwire.server.store.sqlite_file import is_damage
from cellwire.server.store.sqlite_rows import Rows
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
)

MAX_CHAIN = 64
"""Longer chains of changes are folded, so that no session's rows grow without bound."""

_PROBE_HEADER = Header("", seed=0, rewind_window=0)
_PROBE_CHANGE = Change(1, 0, array("I", [2**31] * 4_000), SETTLED, 0)  # takes pages of its own

_REMEMBERED = 4_096  # sessions whose positions need not be read


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a session's next change goes."""

    rows: Rows
    position: Position
    chain: int  # links


class Writer:
    """Carries writes out through one connection; remembers where the last sessions were."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._places: LRUCache[str, _Place] = LRUCache(_REMEMBERED)
        self.undeletable: set[str] = set()  # sessions whose damage keeps them in the file

    def forget(self) -> None:
        """Remember nothing: the transaction was undone."""
        self._places.clear()

    def carry_out(self, write: Write) -> None:
        """Carry a write out; RefusedWrite if it does not fit, sqlite3.Error."""
        try:
            self._carry_out(write)
        except Damaged as error:
            raise RefusedWrite(write.session_id, damaged(write.session_id, error)) from error
        except sqlite3.Error as error:
            alone = is_damage(error) and (
                self._cannot_be_read(write.session_id) or self._another_can_be_written()
            )
            if alone:
                if isinstance(write, Delete):
                    self.undeletable.add(write.session_id)
                raise RefusedWrite(write.session_id, damaged(write.session_id, error)) from error
            raise

    def _carry_out(self, write: Write) -> None:
        match write:
            case Create(session_id=name, header=header):
                self._create(name, header)
            case AddChange(session_id=name, change=change):
                self._add(name, change)
            case PutState(session_id=name, state=state):
                self._put(name, state)
            case KeepUntil(session_id=name, expires_s=expires_s):
                self._place(name).rows.set_expiry(expires_s)
            case Delete(session_id=name):
                self._places.pop(name, None)
                rows = Rows.find(self._connection, name)
                if rows:
                    Checkpoints(rows).discard_all()
                    rows.delete()
            case Release():
                pass
            case PutCheckpoint() | DiscardCheckpoint() | RestoreCheckpoint():
                self._carry_out_checkpoint(write)

    def _carry_out_checkpoint(self, write: CheckpointWrite) -> None:
        place = self._place(write.session_id)
        if not is_checkpoint_due(write, place.position):
            return
        checkpoints = Checkpoints(place.rows)
        match write:
            case PutCheckpoint(name=name):
                checkpoints.put(name)
            case DiscardCheckpoint(name=name):
                checkpoints.discard(name)
            case RestoreCheckpoint(restoration=restoration):
                checkpoints.restore(restoration)
                self._places[write.session_id] = _read_place(place.rows)

    def _create(self, name: str, header: Header) -> None:
        rows = Rows.find(self._connection, name)
        if is_new_session(name, header, rows.header() if rows else None):
            rows = Rows.create(self._connection, name, header)
            start = header.text_start
            self._places[name] = _Place(rows, Position(0, start, start), 0)

    def _add(self, name: str, change: Change) -> None:
        place = self._place(name)
        position = place.position
        if not is_new_change(name, change, position):
            return
        chain = place.chain + 1
        row = ChangeRow(change, position.revision if place.chain else 0)
        if chain > MAX_CHAIN:
            place.rows.replace_changes(folded([*place.rows.changes(), row]))
            chain = 1
        else:
            place.rows.add_change(row)
        self._places[name] = _Place(place.rows, position.after(change), chain)

    def _put(self, name: str, state: StateRecord) -> None:
        place = self._place(name)
        position = place.position
        if not is_new_state(name, state, position):
            return
        change = folded(place.rows.changes())
        moved = change.tokens[: state.tokens_read - change.offset]
        place.rows.add_text(change.offset, moved)
        place.rows.put_state(state)
        place.rows.replace_changes(after_state(change, state.tokens_read))
        settled = Position(position.revision, position.length, state.tokens_read)
        self._places[name] = _Place(place.rows, settled, 1)

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            rows = Rows.find(self._connection, name)
            if rows is None:
                raise RefusedWrite(name, not_stored(name))
            place = self._places[name] = _read_place(rows)
        return place

    def _cannot_be_read(self, name: str) -> bool:
        """Whether a damage is in this session's rows."""
        try:
            rows = Rows.find(self._connection, name)
            if rows:
                position = _read_place(rows).position
                rows.state()
                rows.text(rows.header().text_start, position.settled)
        except (Damaged, sqlite3.Error):
            return True
        return False

    def _another_can_be_written(self) -> bool:
        """Whether a damage is where one session's rows go. The transaction is undone later."""
        try:
            rows = Rows.create(self._connection, "", _PROBE_HEADER)
            rows.replace_changes(_PROBE_CHANGE)
            rows.add_text(0, _PROBE_CHANGE.tokens)
        except (Damaged, sqlite3.Error):
            return False
        return True


def _read_place(rows: Rows) -> _Place:
    changes = rows.changes()
    if not changes:
        start = rows.header().text_start
        return _Place(rows, Position(0, start, start), 0)
    last = changes[-1].change
    # The first link begins where the immutable text ends.
    position = Position(last.revision, last.length, changes[0].change.offset)
    return _Place(rows, position, len(changes))
