"""The rows of sessions in a database: read and written through one connection, sealed.

A session has one header; its text up to where its state has read in rows of TEXT_BYTES that never
change; that state; and a chain of changes since, whose first link begins where the text ends.
A named checkpoint has copies of all but the header, at another key (see sqlite_checkpoints.py).
"""

from __future__ import annotations

import sqlite3
import struct
from array import array
from typing import Any

from cellwire.server.state.change import Change, StateRecord
from cellwire.server.state.stored_session import Header
from cellwire.server.store.payload import (
    ChangeRow,
    decode_change,
    decode_header,
    decode_state,
    encode_change,
    encode_header,
    encode_state,
)
from cellwire.server.store.record import Damaged, Kind, seal, unseal
from cellwire.server.store.tokens import pack_tokens, token_width, unpack_tokens

TEXT_BYTES = 960
"""Of a full text row. SQLite puts what is longer than about a thousand bytes on a page of its own,
of 4,096, in a table without row ids; so four rows fit on a page."""

_MOST_ROW_TOKENS = 1_024  # that a row may have: a token takes a byte at least

_COPY = (
    "INSERT INTO change SELECT ?, revision, record FROM change WHERE session = ?",
    "INSERT INTO text SELECT ?, start, record FROM text WHERE session = ?",
    "INSERT INTO state SELECT ?, record FROM state WHERE session = ?",
)
_CLEAR = (
    "DELETE FROM change WHERE session = ?",
    "DELETE FROM text WHERE session = ?",
    "DELETE FROM state WHERE session = ?",
)
_EXPIRY = struct.Struct("<d")


class Rows:
    """The rows of one session. Damaged if one is not what was written; sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, session_id: str, key: int) -> None:
        self.connection = connection
        self.session_id = session_id
        self.key = key
        self._execute = connection.execute

    @classmethod
    def find(cls, connection: sqlite3.Connection, session_id: str) -> Rows | None:
        """Return the rows of a session, or None if there is none of this id."""
        found = connection.execute("SELECT key FROM session WHERE id = ?", (session_id,)).fetchone()
        return cls(connection, session_id, found[0]) if found else None

    @classmethod
    def create(cls, connection: sqlite3.Connection, session_id: str, header: Header) -> Rows:
        """Make the rows of a new session."""
        record = seal(Kind.HEADER, session_id, 0, encode_header(header))
        cursor = connection.execute(
            "INSERT INTO session (id, header) VALUES (?, ?)", (session_id, record)
        )
        assert cursor.lastrowid is not None
        return cls(connection, session_id, cursor.lastrowid)

    def header(self) -> Header:
        """Return the header."""
        (record,) = self._session("SELECT header FROM session WHERE key = ?")
        return decode_header(unseal(Kind.HEADER, self.session_id, 0, record))

    def expires_s(self) -> float | None:
        """Return when the session expires, if it does."""
        found = self._session("SELECT expires_s, expiry FROM session WHERE key = ?")
        return expiry_in(self.session_id, *found)

    def set_expiry(self, expires_s: float | None) -> None:
        """Set when the session expires."""
        expiry = None
        if expires_s is not None:
            expiry = seal(Kind.EXPIRY, self.session_id, 0, _EXPIRY.pack(expires_s))
        self._execute(
            "UPDATE session SET expires_s = ?, expiry = ? WHERE key = ?",
            (expires_s, expiry, self.key),
        )

    def changes(self) -> list[ChangeRow]:
        """Return the chain of changes after the state."""
        found = self._all(
            "SELECT revision, record FROM change WHERE session = ? ORDER BY revision", self.key
        )
        rows = []
        last = 0
        for revision, record in found:
            row = decode_change(revision, unseal(Kind.CHANGE, self.session_id, revision, record))
            if row.follows != last:
                raise Damaged(f"the change before revision {revision} is missing")
            rows.append(row)
            last = revision
        return rows

    def add_change(self, row: ChangeRow) -> None:
        """Add a link to the chain of changes."""
        revision = row.change.revision
        record = seal(Kind.CHANGE, self.session_id, revision, encode_change(row))
        self._execute("INSERT INTO change VALUES (?, ?, ?)", (self.key, revision, record))

    def replace_changes(self, change: Change) -> None:
        """Put one change in the place of the chain."""
        self._execute("DELETE FROM change WHERE session = ?", (self.key,))
        self.add_change(ChangeRow(change))

    def state(self) -> StateRecord | None:
        """Return the state, if there is one."""
        found = self._execute("SELECT record FROM state WHERE session = ?", (self.key,)).fetchone()
        return decode_state(unseal(Kind.STATE, self.session_id, 0, found[0])) if found else None

    def put_state(self, state: StateRecord) -> None:
        """Put a state in the place of the one before."""
        record = seal(Kind.STATE, self.session_id, 0, encode_state(state))
        self._execute("REPLACE INTO state VALUES (?, ?)", (self.key, record))

    def text(self, start: int, end: int) -> array[int]:
        """Return the immutable text from offset `start` up to `end`."""
        found = self._all(
            "SELECT start, record FROM text WHERE session = ? AND start > ? AND start < ? "
            "ORDER BY start",
            self.key,
            start - _MOST_ROW_TOKENS,
            end,
        )
        tokens = array("I")
        first = at = None
        for offset, record in found:
            if at not in {None, offset}:
                break
            first = offset if first is None else first
            tokens += self._tokens(offset, record)
            at = first + len(tokens)
        if start < end and (first is None or at is None or first > start or at < end):
            raise Damaged(f"a part of its text from offset {start} to {end} is missing")
        return tokens[start - (first or 0) : end - (first or 0)]

    def add_text(self, start: int, tokens: array[int]) -> None:
        """Add immutable text at its end, which is at offset `start`."""
        last = self._execute(
            "SELECT start, record FROM text WHERE session = ? ORDER BY start DESC LIMIT 1",
            (self.key,),
        ).fetchone()
        if last:
            before = self._tokens(*last)
            if len(before) < _row_tokens(before):
                start, tokens = last[0], before + tokens
        length = _row_tokens(tokens)
        for at in range(0, len(tokens), length):
            packed = pack_tokens(tokens[at : at + length])
            record = seal(Kind.TEXT, self.session_id, start + at, packed)
            self._execute("REPLACE INTO text VALUES (?, ?, ?)", (self.key, start + at, record))

    def copy_from(self, other: Rows) -> None:
        """Have the text, the state and the changes of other rows of the same session."""
        self.clear()
        for copy in _COPY:
            self._execute(copy, (self.key, other.key))

    def clear(self) -> None:
        """Delete everything but the header."""
        for clear in _CLEAR:
            self._execute(clear, (self.key,))

    def delete(self) -> None:
        """Delete the session."""
        self.clear()
        self._execute("DELETE FROM session WHERE key = ?", (self.key,))

    def _tokens(self, start: int, record: bytes) -> array[int]:
        return unpack_tokens(unseal(Kind.TEXT, self.session_id, start, record))

    def _all(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        # A query that is left in the middle, at a damaged row, would keep its transaction open.
        return self._execute(query, values).fetchall()

    def _session(self, query: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] | None = self._execute(query, (self.key,)).fetchone()
        if found is None:
            raise Damaged("its header record is missing")
        return found


def _row_tokens(tokens: array[int]) -> int:
    """Return how many tokens like these a full text row has."""
    return TEXT_BYTES // token_width(tokens)


def expiry_in(session_id: str, expires_s: float | None, expiry: bytes | None) -> float | None:
    """Return when a session expires, from its columns; Damaged."""
    if expires_s is None and expiry is None:
        return None
    (written,) = _EXPIRY.unpack(unseal(Kind.EXPIRY, session_id, 0, expiry or b""))
    if written != expires_s:
        raise Damaged("its expiry is not what was written")
    return expires_s
