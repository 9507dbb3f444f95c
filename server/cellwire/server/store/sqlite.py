"""A store in one SQLite database: WAL, one connection that writes, others that read."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cellwire.server.errors import CannotOpenStore, DamagedRecord, StoreFailed
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.checks import damaged, no_checkpoint, not_stored
from cellwire.server.store.folder import FolderLock, make_folder, network_file_system, sync_folder
from cellwire.server.store.payload import folded
from cellwire.server.store.record import Damaged
from cellwire.server.store.sqlite_checkpoints import Checkpoints
from cellwire.server.store.sqlite_file import (
    FILE_NAME,
    Place,
    Synchronous,
    failing,
    is_damage,
    open_bystander,
    open_reader,
    open_writer,
)
from cellwire.server.store.sqlite_loading import head_in, head_of, stored_in
from cellwire.server.store.sqlite_readers import Readers
from cellwire.server.store.sqlite_rows import Rows, expiry_in
from cellwire.server.store.sqlite_writer import Writer
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Write, effective

Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]

_log = logging.getLogger(__name__)
_FREE_PAGES = 256  # that the file may keep for what is written next
_PAGES_PER_COMMIT = 256  # given back at most, so that no commit takes long
_MOST_WAL_BYTES = 32 * 1024 * 1024  # beyond it, readers wait until the file begins anew


class SqliteReader:
    """Reads the sessions in a database, whether or not a daemon uses it; writes nothing."""

    def __init__(self, path: Path, reading: Reading) -> None:
        """Read in transactions that `reading` begins."""
        self._path = path
        self._reading = reading

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens."""
        with self._session(session_id) as rows:
            stored = stored_in(head_in(session_id, rows), rows, last_tokens)
            return replace(stored, checkpoints=tuple(Checkpoints(rows).all()))

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint."""
        with self._session(session_id) as rows:
            kept = Checkpoints(rows).find(name)
            if kept is None:
                raise no_checkpoint(session_id, name)
            return stored_in(head_of(session_id, rows.header(), kept), kept, last_tokens)

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state."""
        with self._session(session_id) as rows:
            return head_in(session_id, rows)

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return a part of a text."""
        with self._session(session_id) as rows:
            first = rows.header().text_start
            changes = rows.changes()
            if not changes:
                return array("I")
            tail = folded(changes)
            start, settled = max(start, first), tail.offset
            tokens = rows.text(start, min(end, settled))
            return tokens + tail.tokens[max(0, start - settled) : max(0, end - settled)]

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return sessions in the order of their ids."""
        heads: list[StoredHead | DamagedRecord] = []
        with failing(self._path), self._reading() as connection:
            found = connection.execute(
                "SELECT id, key FROM session WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            )
            for session_id, key in found.fetchall():
                try:
                    with _told_of(session_id):
                        heads.append(head_in(session_id, Rows(connection, session_id, key)))
                except DamagedRecord as error:
                    heads.append(error)
        return heads

    @contextlib.contextmanager
    def _session(self, session_id: str) -> Iterator[Rows]:
        """Read a session's rows: NotFound, DamagedRecord, StoreFailed."""
        with (
            failing(self._path),
            self._reading() as connection,
            _told_of(session_id),
        ):
            rows = Rows.find(connection, session_id)
            if rows is None:
                raise not_stored(session_id)
            yield rows


def bystander(folder: Path) -> SqliteReader:
    """Return a reader of the store in a folder, from outside the daemon that may use it.

    Its methods raise CannotOpenStore, too.
    """
    path = folder / FILE_NAME

    @contextlib.contextmanager
    def reading() -> Iterator[sqlite3.Connection]:
        with contextlib.closing(open_bystander(path)) as connection:
            connection.execute("BEGIN")
            yield connection

    return SqliteReader(path, reading)


class SqliteStore(SqliteReader):
    """Keeps sessions in a folder, which one daemon at a time may use."""

    def __init__(
        self,
        folder: Path,
        synchronous: Synchronous = "FULL",
        *,
        on_network: Literal["refuse", "warn"] = "refuse",
    ) -> None:
        """Open the store in a folder, and make it if it is new; CannotOpenStore."""
        make_folder(folder)
        _check_file_system(folder, on_network)
        path = folder / FILE_NAME
        self._readers = Readers(lambda: open_reader(path))
        super().__init__(path, self._readers.reading)
        self._wal = folder / f"{FILE_NAME}-wal"
        self._synchronous: Synchronous = synchronous
        self._writing = threading.Lock()
        self._failed = False
        self._gives_back_pages = True
        self._wal_limit = _MOST_WAL_BYTES
        self._folder_lock = FolderLock(folder)
        try:
            self._connection = open_writer(self._path, synchronous)
        except BaseException:
            self._folder_lock.release()
            raise
        sync_folder(folder)
        self._place = Place(path)
        self._writer = Writer(self._connection)

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes: all of them, safe on return, or none."""
        with self._writing, failing(self._path):
            if self._failed:
                raise StoreFailed(f"the database {self._path} has failed, and is not reopened yet")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for write in effective(writes):
                    self._writer.carry_out(write)
                self._give_back_pages()
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._failed = not isinstance(error, RefusedWrite)
                self._undo()
                raise
            self._place.check()
            self._bound_wal()

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of sessions that have expired."""
        due: list[str] = []
        query = (
            "SELECT id, expires_s, expiry FROM session WHERE expires_s <= ? ORDER BY expires_s, id"
        )
        with (
            failing(self._path),
            self._readers.reading() as connection,
            contextlib.closing(connection.execute(query, (now_s,))) as found,
        ):
            for session_id, expires_s, expiry in found:
                if session_id in self._writer.undeletable:
                    continue  # it would be found, and refused, again and again
                # A session whose expiry is damaged is kept.
                with contextlib.suppress(Damaged):
                    expiry_in(session_id, expires_s, expiry)
                    due.append(session_id)
                if len(due) == limit:
                    break
        return due

    def reopen(self) -> None:
        """Begin anew after a StoreFailed."""
        with self._writing, self._readers.paused(), failing(self._path):
            self._readers.close()
            self._connection.close()
            self._failed = True
            self._place.check_database()
            try:
                self._connection = open_writer(self._path, self._synchronous)
            except CannotOpenStore as error:
                raise StoreFailed(str(error)) from error
            self._place = Place(self._path)
            self._writer = Writer(self._connection)
            # After an fsync that failed, the system may hold pages that never reached the disk, and
            # call the next fsync a success. Copied into the database, they are written anew.
            if not self._truncate_wal():
                raise StoreFailed(
                    f"another program reads the database {self._path}, so it cannot be made safe "
                    "after a failure; end that program's transaction"
                )
            self._failed = False

    def close(self) -> None:
        """Let go of the database and the folder."""
        with self._writing, self._readers.paused():
            self._readers.close()
            self._connection.close()
            self._folder_lock.release()

    def _undo(self) -> None:
        self._writer.forget()
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _give_back_pages(self) -> None:
        """Shorten the file where much of it is free, unless it is damaged where it says so."""
        if not self._gives_back_pages:
            return
        free = self._connection.execute("PRAGMA freelist_count").fetchone()[0] - _FREE_PAGES
        try:
            for _ in range(min(free, _PAGES_PER_COMMIT)):
                # Python takes one step of this statement: one page, whatever its argument.
                self._connection.execute("PRAGMA incremental_vacuum(1)")
        except sqlite3.Error as error:
            self._gives_back_pages = not is_damage(error)
            raise

    def _bound_wal(self) -> None:
        """Begin the write-ahead file anew if readers have kept SQLite from it for long."""
        size = self._wal.stat().st_size
        if size <= _MOST_WAL_BYTES:
            self._wal_limit = _MOST_WAL_BYTES
        elif size > self._wal_limit:
            with self._readers.paused():
                done = self._truncate_wal()
            if not done:
                self._wal_limit = 2 * size
                _log.warning(
                    "the write-ahead file %s has %d MiB, and cannot begin anew: another program "
                    "reads the database; end its transaction",
                    self._wal,
                    size >> 20,
                )

    def _truncate_wal(self) -> bool:
        """Copy the write-ahead file into the database; whether nobody was in the way."""
        busy: int = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy


@contextlib.contextmanager
def _told_of(session_id: str) -> Iterator[None]:
    """Turn what is found damaged into a DamagedRecord of a session."""
    try:
        yield
    except Damaged as error:
        raise damaged(session_id, error) from error
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(session_id, error) from error
        raise


def _check_file_system(folder: Path, on_network: Literal["refuse", "warn"]) -> None:
    kind = network_file_system(folder)
    if not kind:
        return
    if on_network == "refuse":
        raise CannotOpenStore(
            f"the state folder {folder} is on a network's file system ({kind}), which can lose or "
            "damage a database; give --state a folder on a local disk, or take the risk with "
            "--state-on-network warn"
        )
    _log.warning(
        "the state folder %s is on a network's file system (%s): sessions may be lost or damaged",
        folder,
        kind,
    )
