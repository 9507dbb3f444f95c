"""The named checkpoints of a session in a database.

A checkpoint has rows as a session has, at a key below zero: a copy that the database itself makes,
with the same seals. A record of its own holds what is known of it without reading these.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from cellwire.server.state.change import Restoration, remembered
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.store.checks import no_checkpoint
from cellwire.server.store.payload import decode_checkpoint, encode_checkpoint, folded
from cellwire.server.store.record import Damaged, Kind, seal, unseal
from cellwire.server.store.sqlite_rows import Rows
from cellwire.server.store.store import RefusedWrite


class Checkpoints:
    """The named checkpoints of one session. Damaged, sqlite3.Error."""

    def __init__(self, session: Rows) -> None:
        self._session = session
        self._execute = session.connection.execute

    def all(self) -> Iterator[NamedCheckpoint]:
        """Yield the checkpoints in the order of their names, without those that are damaged."""
        found = self._execute(
            "SELECT key, name, record FROM checkpoint WHERE session = ? ORDER BY name",
            (self._session.key,),
        )
        for key, name, record in found.fetchall():
            with contextlib.suppress(Damaged):  # the session itself can be read
                checkpoint = self._decoded(key, record)
                if checkpoint.name == name:
                    yield checkpoint

    def find(self, name: str) -> Rows | None:
        """Return the rows of a checkpoint; None if there is none of this name."""
        query = "SELECT key FROM checkpoint WHERE session = ? AND name = ?"
        found = self._execute(query, (self._session.key, name)).fetchone()
        return self._rows(found[0]) if found else None

    def put(self, name: str) -> None:
        """Keep the session as it is."""
        self.discard(name)
        last = self._session.changes()[-1].change
        cursor = self._execute(
            "INSERT INTO checkpoint (session, name, record) VALUES (?, ?, ?)",
            (self._session.key, name, b""),
        )
        key = cursor.lastrowid
        assert key is not None
        payload = encode_checkpoint(NamedCheckpoint(name, last.length, last.end))
        record = seal(Kind.CHECKPOINT, self._session.session_id, key, payload)
        self._execute("UPDATE checkpoint SET record = ? WHERE key = ?", (record, key))
        self._rows(key).copy_from(self._session)

    def restore(self, restoration: Restoration) -> None:
        """Make the session what it was; its operations done, and its revision, go on."""
        kept = self.find(restoration.name)
        if kept is None:
            session_id = self._session.session_id
            raise RefusedWrite(session_id, no_checkpoint(session_id, restoration.name))
        done = (*folded(self._session.changes()).done, *restoration.done)
        change = folded(kept.changes())
        self._session.copy_from(kept)
        self._session.replace_changes(
            replace(change, revision=restoration.revision, done=remembered(done))
        )

    def discard(self, name: str) -> None:
        """Forget a checkpoint, if it is there."""
        rows = self.find(name)
        if rows is not None:
            rows.clear()
            self._execute("DELETE FROM checkpoint WHERE key = ?", (-rows.key,))

    def discard_all(self) -> None:
        """Forget all of them."""
        found = self._execute("SELECT key FROM checkpoint WHERE session = ?", (self._session.key,))
        for (key,) in found.fetchall():
            self._rows(key).clear()
        self._execute("DELETE FROM checkpoint WHERE session = ?", (self._session.key,))

    def _rows(self, key: int) -> Rows:
        return Rows(self._session.connection, self._session.session_id, -key)

    def _decoded(self, key: int, record: bytes) -> NamedCheckpoint:
        return decode_checkpoint(unseal(Kind.CHECKPOINT, self._session.session_id, key, record))
