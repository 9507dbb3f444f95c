"""A store read from outside the daemon: beside one, after one, and after one that was killed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.store.stored import EVERYTHING, ONE, TWO, added, database, session

from cellwire.server.errors import CannotOpenStore, DamagedRecord, NotFound, StoreFailed
from cellwire.server.store.sqlite import SqliteReader, SqliteStore, bystander


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def ids(reader: SqliteReader) -> list[str]:
    return [found.session_id for found in reader.sessions()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_sees_what_is_safe_while_the_store_is_written(folder: Path) -> None:
    reader = bystander(folder)
    with closing(SqliteStore(folder)) as store:
        assert ids(reader) == []
        store.commit(session(ONE, 3_000, 2_500))
        assert ids(reader) == [ONE]
        store.commit([added(ONE, 2, 3_000, [7]), *session(TWO)])
        assert ids(reader) == [ONE, TWO]
        assert reader.load(ONE, EVERYTHING) == store.load(ONE, EVERYTHING)
        assert reader.text(ONE, 2_999, 3_001)[-1] == 7


def test_it_makes_no_file_and_changes_none(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.commit(session(ONE))
    before = files(folder)
    assert set(before) == {"lock", "sessions.sqlite"}
    assert ids(bystander(folder)) == [ONE]
    assert bystander(folder).head(ONE).length == 100
    assert files(folder) == before


def test_it_reads_what_a_killed_daemon_has_left(folder: Path, tmp_path: Path) -> None:
    left = tmp_path / "left"
    with closing(SqliteStore(folder)) as store:
        store.commit(session(ONE))
        shutil.copytree(folder, left)  # as the files are when it is killed
    assert (left / "sessions.sqlite-wal").stat().st_size > 0
    assert ids(bystander(left)) == [ONE]
    assert (left / "sessions.sqlite-wal").stat().st_size > 0
    with closing(SqliteStore(left)) as store:
        assert store.head(ONE).length == 100


def test_a_daemon_starts_while_it_is_there(folder: Path) -> None:
    SqliteStore(folder).close()
    reader = bystander(folder)
    assert ids(reader) == []
    with closing(SqliteStore(folder)) as store:
        store.commit(session(ONE))
        assert ids(reader) == [ONE]


def test_a_damaged_session_hurts_no_other(folder: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        store.commit([*session(ONE), *session(TWO)])
    with closing(sqlite3.connect(database(folder))) as connection, connection:
        connection.execute("UPDATE session SET header = zeroblob(9) WHERE id = ?", (ONE,))
    damaged, whole = bystander(folder).sessions()
    assert isinstance(damaged, DamagedRecord)
    assert (damaged.session_id, whole.session_id) == (ONE, TWO)
    with pytest.raises(DamagedRecord, match="another checksum"):
        bystander(folder).head(ONE)
    with pytest.raises(NotFound):
        bystander(folder).head("3" * 32)


def test_what_is_no_store_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(CannotOpenStore, match=r"no store in .*state: it has no sessions\.sqlite"):
        ids(bystander(folder))
    assert not folder.exists()
    folder.mkdir()
    with closing(sqlite3.connect(database(folder))) as connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(CannotOpenStore, match="not one of Cellwire's"):
        ids(bystander(folder))
    database(folder).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreFailed, match="damaged"):
        ids(bystander(folder))
