"""Damaged records: each hurts its own session alone, and is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.server.store.stored import (
    EVERYTHING,
    HEADER,
    ONE,
    TWO,
    added,
    content,
    database,
    session,
    state,
)

from cellwire.server.errors import DamagedRecord, StoreFailed
from cellwire.server.store import sqlite_file
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, KeepUntil, PutState, Write


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with two sessions, each with a state, text rows and three changes."""
    with closing(SqliteStore(tmp_path, "NORMAL")) as kept:
        for name in (ONE, TWO):
            kept.commit([*session(name, 3_000, 2_500), KeepUntil(name, 5.0)])
            kept.commit([added(name, 2, 3_000, [1]), added(name, 3, 3_001, [2])])
        kept.reopen()
        yield kept


def alter(folder: Path, statement: str) -> None:
    """Carry out a statement; `:one` is the key of the session ONE."""
    with closing(sqlite3.connect(database(folder))) as connection, connection:
        query = "SELECT key FROM session WHERE id = ?"
        key = connection.execute(query, (ONE,)).fetchone()[0]
        assert connection.execute(statement, {"one": key}).rowcount == 1


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DELETE FROM change WHERE session = :one AND revision = 2", "before revision 3 is"),
        ("DELETE FROM text WHERE session = :one AND start = 960", "text from .* is missing"),
        ("DELETE FROM text WHERE session = :one AND start = 1920", "text from .* is missing"),
        ("DELETE FROM state WHERE session = :one", "do not belong together"),
        ("UPDATE text SET record = x'00' WHERE session = :one AND start = 0", "too short"),
        ("UPDATE change SET record = 5 WHERE session = :one AND revision = 3", "too short"),
        ("UPDATE session SET header = zeroblob(99) WHERE key = :one", "header record"),
        ("UPDATE session SET expires_s = 4.0 WHERE key = :one", "expiry is not what"),
        ("UPDATE session SET expiry = NULL WHERE key = :one", "expiry record is too short"),
    ],
)
def test_a_damaged_session_says_so_and_no_other(
    store: SqliteStore, tmp_path: Path, statement: str, match: str
) -> None:
    whole = content(store)[TWO]
    alter(tmp_path, statement)
    with pytest.raises(DamagedRecord, match=match) as error:
        store.load(ONE, EVERYTHING)
    assert error.value.session_id == ONE
    assert "Other sessions are not concerned" in str(error.value)
    assert content(store) == {ONE: "damaged", TWO: whole}
    assert store.expired(9.0)[-1:] == [TWO]
    store.commit([added(TWO, 4, 3_002, [1])])
    store.commit([Delete(ONE)])
    assert list(content(store)) == [TWO]


def test_damaged_sessions_are_listed_as_their_errors(store: SqliteStore, tmp_path: Path) -> None:
    alter(tmp_path, "UPDATE session SET header = zeroblob(99) WHERE key = :one")
    damaged, whole = store.sessions()
    assert isinstance(damaged, DamagedRecord)
    assert (damaged.session_id, whole.session_id) == (ONE, TWO)


@pytest.mark.parametrize(
    ("statement", "write"),
    [
        ("UPDATE session SET header = zeroblob(99) WHERE key = :one", Create(ONE, HEADER)),
        ("DELETE FROM change WHERE session = :one AND revision = 2", added(ONE, 4, 3_002)),
        (
            "DELETE FROM change WHERE session = :one AND revision = 2",
            PutState(ONE, state(2_600)),
        ),
    ],
)
def test_a_damaged_session_is_refused_alone(
    store: SqliteStore, tmp_path: Path, statement: str, write: Write
) -> None:
    alter(tmp_path, statement)
    with pytest.raises(RefusedWrite) as refused:
        store.commit([added(TWO, 4, 3_002, [1]), write])
    assert isinstance(refused.value.error, DamagedRecord)
    assert (refused.value.session_id, store.head(TWO).revision) == (ONE, 3)
    store.commit([added(TWO, 4, 3_002, [1])])


def damaged_page(folder: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(database(folder))) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        page: int = connection.execute(query, (table,)).fetchone()[0]
    with database(folder).open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\xff" * 4_096)


def test_a_damaged_page_is_told_of_each_session_in_it(store: SqliteStore, tmp_path: Path) -> None:
    damaged_page(tmp_path, "change")
    for read in (store.head, lambda name: store.text(name, 0, 1), lambda name: store.load(name, 1)):
        with pytest.raises(DamagedRecord, match="malformed"):
            read(ONE)
    assert set(content(store).values()) == {"damaged"}
    assert all(isinstance(head, DamagedRecord) for head in store.sessions())


def test_a_session_that_cannot_be_deleted_is_not_found_to_have_expired_again(
    store: SqliteStore, tmp_path: Path
) -> None:
    damaged_page(tmp_path, "change")
    assert store.expired(9.0) == [ONE, TWO]
    with pytest.raises(RefusedWrite):
        store.commit([Delete(ONE)])
    assert store.expired(9.0) == [TWO]


def test_a_damaged_file_fails_and_says_what_to_do(store: SqliteStore, tmp_path: Path) -> None:
    damaged_page(tmp_path, "session_expiry")
    with pytest.raises(StoreFailed, match=r"is damaged .*recover"):
        store.expired(9.0)
    assert store.head(ONE).revision == 3


def let_fail(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[[str, tuple[Any, ...]], bool]
) -> None:
    """Let some statements meet damage, on connections that are made from now on."""

    class Connection(sqlite3.Connection):
        def execute(self, query: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
            if fails(query, *values or ((),)):
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            if query == "PRAGMA freelist_count":
                return super().execute("SELECT 1000")
            return super().execute(query, *values)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=Connection
        )

    monkeypatch.setattr(sqlite_file, "_connect", connect)


def test_what_cannot_be_given_back_is_kept(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged list of free pages stops the giving back of pages, once it is found."""
    let_fail(monkeypatch, lambda query, _: "incremental_vacuum" in query)
    store.reopen()
    with pytest.raises(StoreFailed, match="is damaged"):
        store.commit([added(ONE, 4, 3_002, [1])])
    store.reopen()
    store.commit([added(ONE, 4, 3_002, [1])])


def test_damage_that_only_one_session_writes_into_is_its_own(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_fail(monkeypatch, lambda query, values: "INTO change" in query and values[0] == 1)
    store.reopen()
    with pytest.raises(RefusedWrite) as refused:
        store.commit([added(ONE, 4, 3_002, [1])])
    assert refused.value.session_id == ONE
    store.commit([added(TWO, 4, 3_002, [1])])
    assert len(store.sessions()) == 2


def test_damage_that_every_session_writes_into_is_the_files(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_fail(monkeypatch, lambda query, _: "INTO change" in query)
    store.reopen()
    with pytest.raises(StoreFailed, match="is damaged"):
        store.commit([added(ONE, 4, 3_002, [1])])


def test_a_reader_sees_what_is_new_after_it_met_damage(store: SqliteStore, tmp_path: Path) -> None:
    alter(tmp_path, "UPDATE text SET record = x'00' WHERE session = :one AND start = 0")
    with pytest.raises(DamagedRecord) as kept:  # with its traceback, and all that is in it
        store.load(ONE, EVERYTHING)
    store.commit([added(TWO, 4, 3_002, [1])])
    assert (store.head(TWO).revision, kept.value.session_id) == (4, ONE)
