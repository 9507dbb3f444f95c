"""The database file of a store: how it is opened, what it must be, and its errors in words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from cellwire.server.errors import CannotOpenStore, StoreFailed

Synchronous = Literal["FULL", "NORMAL"]
"""FULL: a commit survives the loss of power. NORMAL: the death of the process, and is quicker."""

FILE_NAME = "sessions.sqlite"
APPLICATION_ID = 0x43574952  # "CWIR"
VERSION = 1

_BUSY_TIMEOUT_S = 1.0  # for other programs that lock the file; readers never wait for the writer
_CHECKPOINT_PAGES = 1_000  # of the write-ahead file, after which it is copied into the database
_WAL_BYTES = 8 * 1024 * 1024  # that the write-ahead file keeps after that

_TABLES = """
CREATE TABLE session (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    header BLOB NOT NULL,
    expires_s REAL,
    expiry BLOB
);
CREATE INDEX session_expiry ON session (expires_s) WHERE expires_s IS NOT NULL;
CREATE TABLE change (
    session INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (session, revision)
) WITHOUT ROWID;
CREATE TABLE text (
    session INTEGER NOT NULL,
    start INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (session, start)
) WITHOUT ROWID;
CREATE TABLE state (
    session INTEGER PRIMARY KEY,
    record BLOB NOT NULL
);
CREATE TABLE checkpoint (
    key INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    name TEXT NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (session, name)
);
"""

_WHAT_TO_DO = {
    sqlite3.SQLITE_FULL: "the disk is full, or its quota: free some space",
    sqlite3.SQLITE_READONLY: "it is read-only: let the daemon write it",
    sqlite3.SQLITE_BUSY: "another program has locked it: end that program's transaction",
    sqlite3.SQLITE_LOCKED: "another program has locked it: end that program's transaction",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that its folder is there and writable",
    sqlite3.SQLITE_IOERR: "the disk does not read or write: look at the system's log",
}
_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file does not hold what was written."""
    return _primary_code(error) in _DAMAGED


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def in_words(path: Path, error: sqlite3.Error) -> str:
    """Return what is wrong, and what to do."""
    if is_damage(error):
        return (
            f"the database {path} is damaged ({error}). Stop the daemon, keep a copy of the "
            "folder, and put back a backup, or recover what can be read, as docs/operations.md "
            "shows; or start with an empty folder"
        )
    advice = _WHAT_TO_DO.get(_primary_code(error), "see SQLite's documentation of this error")
    return f"the database {path} failed: {error}; {advice}"


@contextlib.contextmanager
def failing(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreFailed."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        words = in_words(path, error) if isinstance(error, sqlite3.Error) else str(error)
        raise StoreFailed(words) from error


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the database for writing, and make it if it is new; CannotOpenStore."""
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise CannotOpenStore(in_words(path, error)) from error
    try:
        _check_owner(path, connection)
        _configure(connection, synchronous)
        _make_tables(connection)
    except sqlite3.Error as error:
        connection.close()
        raise CannotOpenStore(in_words(path, error)) from error
    except CannotOpenStore:
        connection.close()
        raise
    return connection


class Place:
    """Where a database is open. What is written after its files were removed is never found."""

    def __init__(self, path: Path) -> None:
        """Take it as it is now, open in WAL mode; OSError."""
        wal = path.with_name(f"{path.name}-wal")
        self._identities = {path: _identity(path), wal: _identity(wal)}

    def check(self) -> None:
        """Raise StoreFailed if other files are there, or none."""
        for path in self._identities:
            self._check(path)

    def check_database(self) -> None:
        """Check the database alone, where it is opened anew: SQLite makes the file beside it."""
        self._check(next(iter(self._identities)))

    def _check(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if _identity(path) == self._identities[path]:
                return
        raise StoreFailed(
            f"the file {path} was removed or replaced while this daemon uses it; move it back, or "
            "restart the daemon on what is there"
        )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database for reading; sqlite3.Error."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_bystander(path: Path) -> sqlite3.Connection:
    """Open the database for reading from outside the daemon: no file is made or changed.

    CannotOpenStore, sqlite3.Error. Without a write-ahead file nobody has the database open, and
    SQLite would make one to read it; so it is told that nothing changes. Use the connection for one
    transaction: a daemon may start meanwhile.
    """
    if not path.exists():
        raise CannotOpenStore(
            f"there is no store in {path.parent}: it has no {path.name}; give the folder that "
            "`cellwire serve --state` was given"
        )
    unchanging = "" if Path(f"{path}-wal").exists() else "&immutable=1"
    connection = _connect(f"{path.resolve().as_uri()}?mode=ro{unchanging}", uri=True)
    try:
        _check_owner(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    # The store sees to it that one thread at a time uses a connection.
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=uri
    )
    # In a damaged file, a session's id may be no text; the others are found even so.
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    """Raise CannotOpenStore unless the file is new or of this version."""
    application_id = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id == 0 and tables == 0:
        return
    if application_id != APPLICATION_ID:
        raise CannotOpenStore(
            f"the database {path} is not one of Cellwire's; give --state another folder"
        )
    version = _pragma(connection, "user_version")
    if version != VERSION:
        raise CannotOpenStore(
            f"the database {path} has format {version}, and this daemon reads format {VERSION}; "
            "run the version of Cellwire that wrote it, or give --state another folder"
        )


def _configure(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    # Free pages can be given back only if this comes before all else.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise CannotOpenStore(
            "the state folder's file system has no shared memory, which SQLite's write-ahead log "
            "needs; give --state a folder on a local disk"
        )
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA fullfsync = ON")  # on macOS, fsync alone does not reach the disk
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute("PRAGMA secure_delete = FAST")  # texts that are deleted are overwritten


def _make_tables(connection: sqlite3.Connection) -> None:
    if _pragma(connection, "application_id") == APPLICATION_ID:
        return
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
