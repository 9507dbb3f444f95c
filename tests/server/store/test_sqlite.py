"""What the SQLite store does with its file."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.server.store.stored import (
    EVERYTHING,
    HEADER,
    ONE,
    TWO,
    added,
    content,
    database,
    reopened,
    session,
    session_id_of,
    state,
)

from cellwire.server.errors import CannotOpenStore, DamagedRecord, StoreFailed
from cellwire.server.store import sqlite as sqlite_module
from cellwire.server.store import sqlite_file
from cellwire.server.store.folder import network_file_system
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, KeepUntil, PutState

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's locks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a" / "state"


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(folder)) as kept:
        yield kept


@contextmanager
def other_program(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        yield connection


def test_sessions_outlive_the_store(store: SqliteStore, folder: Path) -> None:
    store.commit([*session(ONE, 3_000, 2_000), *session(TWO), KeepUntil(TWO, 5.0)])
    before = content(store)
    with closing(reopened(store, folder)) as again:
        assert content(again) == before
        assert again.expired(5.0) == [TWO]
        again.commit([added(ONE, 2, 3_000, [1])])


def test_the_folder_is_private_and_the_file_marked(store: SqliteStore, folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    with other_program(folder) as connection:
        for pragma, value in {"journal_mode": "wal", "application_id": 0x43574952}.items():
            assert connection.execute(f"PRAGMA {pragma}").fetchone()[0] == value
    for pragma, value in {"synchronous": 2, "auto_vacuum": 2}.items():
        assert store._connection.execute(f"PRAGMA {pragma}").fetchone()[0] == value


def test_synchronous_can_be_normal(folder: Path) -> None:
    with closing(SqliteStore(folder, "NORMAL")) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 1


def test_two_daemons_do_not_share_a_folder(store: SqliteStore, folder: Path) -> None:
    with pytest.raises(CannotOpenStore, match=f"in use by process {os.getpid()} on .*--state"):
        SqliteStore(folder)
    store.close()
    SqliteStore(folder).close()


def test_a_process_that_was_killed_holds_no_lock(folder: Path) -> None:
    held = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = (
        "from pathlib import Path; from cellwire.server.store.sqlite import SqliteStore; "
        f"store = SqliteStore(Path({str(folder)!r})); {held}"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    SqliteStore(folder).close()


@pytest.mark.parametrize(
    ("pragma", "match"),
    [
        ("user_version = 2", "has format 2, and this daemon reads format 1"),
        ("application_id = 5", "is not one of Cellwire's"),
    ],
)
def test_another_programs_or_versions_file_is_left_alone(
    store: SqliteStore, folder: Path, pragma: str, match: str
) -> None:
    store.close()
    with other_program(folder) as connection:
        connection.execute(f"PRAGMA {pragma}")
    before = database(folder).read_bytes()
    with pytest.raises(CannotOpenStore, match=match):
        SqliteStore(folder)
    assert database(folder).read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    database(folder).write_bytes(b"no database" * 1_000)
    with pytest.raises(CannotOpenStore, match=r"is damaged .*recover"):
        SqliteStore(folder)
    SqliteStore(folder.parent / "other").close()


def test_a_folder_that_cannot_be_made_is_said(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(CannotOpenStore, match="cannot be made"):
        SqliteStore(folder)


def test_a_folder_without_a_lock_file_is_said(folder: Path) -> None:
    (folder / "lock").mkdir(parents=True)
    with pytest.raises(CannotOpenStore, match="cannot be used: Is a directory"):
        SqliteStore(folder)


def test_a_file_system_without_shared_memory_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite_file._connect
    monkeypatch.setattr(sqlite_file, "_connect", lambda _: connect(Path(":memory:")))
    with pytest.raises(CannotOpenStore, match="no shared memory"):
        SqliteStore(folder)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/mnt/a/b", "nfs4"),
        ("/mnt/a b/c", "fuse.sshfs"),
        ("/mnt/a/local/x", ""),
        ("/home", ""),
        ("/mnt/ab", ""),
    ],
)
def test_network_file_systems_are_known(tmp_path: Path, place: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\nserver:/x /mnt/a nfs4 rw 0 0\n/dev/vdb /mnt/a/local xfs rw 0 0\n"
        "me@host: /mnt/a\\040b fuse.sshfs rw 0 0\n"
    )
    assert network_file_system(Path(place), mounts) == kind
    assert network_file_system(Path(place), tmp_path / "none") == ""


def test_a_network_file_system_is_refused_or_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_module, "network_file_system", lambda _: "nfs4")
    with pytest.raises(CannotOpenStore, match=r"network's file system \(nfs4\)"):
        SqliteStore(folder)
    SqliteStore(folder, on_network="warn").close()
    assert "nfs4" in caplog.text


def test_the_name_in_the_lock_is_for_people_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> str:
        raise OSError

    monkeypatch.setattr(platform, "node", full)
    SqliteStore(folder).close()


def test_deleted_sessions_give_their_space_back(store: SqliteStore, folder: Path) -> None:
    store._connection.execute("PRAGMA synchronous = OFF")
    names = [session_id_of(number) for number in range(600)]
    for at in range(0, 600, 100):
        store.commit([w for name in names[at : at + 100] for w in session(name, 3_000, 2_000)])
    store.reopen()
    full = database(folder).stat().st_size
    for name in names:
        store.commit([Delete(name)])
    store.reopen()
    assert database(folder).stat().st_size < min(full / 2, 2_000_000)
    rows = "SELECT (SELECT count(*) FROM change) + (SELECT count(*) FROM text)"
    assert store._connection.execute(rows).fetchone() == (0,)


def test_nothing_grows_with_the_changes_of_a_session(store: SqliteStore) -> None:
    store.commit(session(ONE))
    for revision in range(2, 500):
        store.commit([added(ONE, revision, 50, range(30), done=revision)])
    assert store._connection.execute("SELECT count(*) FROM change").fetchone()[0] <= 64
    assert store._connection.execute("SELECT count(*) FROM text").fetchone()[0] == 1


def test_the_write_ahead_file_stays_small(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_MOST_WAL_BYTES", 2**20)
    store._wal_limit = 2**20
    store.commit([Create(ONE, HEADER)])
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            store.load(ONE, EVERYTHING)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    largest = 0
    for revision in range(1, 60):
        store.commit([added(ONE, revision, 0, range(100_000, 120_000))])
        largest = max(largest, folder.joinpath("sessions.sqlite-wal").stat().st_size)
    stop.set()
    for reader in readers:
        reader.join()
    assert largest < 2**21


def test_another_program_that_reads_for_long_is_told_of(
    store: SqliteStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(sqlite_module, "_MOST_WAL_BYTES", 2**20)
    store.reopen()
    store._wal_limit = 2**20
    store.commit(session(ONE))
    with other_program(folder) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM session").fetchone()
        for revision in range(2, 40):
            store.commit([added(ONE, revision, 50, range(100_000, 120_000))])
        assert 0 < caplog.text.count("cannot begin anew") < 5
        with pytest.raises(StoreFailed, match="end that program's transaction"):
            store.reopen()
        with pytest.raises(StoreFailed, match="not reopened"):
            store.commit([])
    store.reopen()
    store.commit([added(ONE, 40, 50)])
    assert store._wal.stat().st_size < 2**20


def test_a_locked_database_fails_and_recovers(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_TIMEOUT_S", 0.01)
    store.commit(session(ONE))
    store.reopen()
    with other_program(folder) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed, match="another program has locked it"):
            store.commit([added(ONE, 2, 100, [1])])
        assert store.head(ONE).revision == 1
    store.reopen()
    store.commit([added(ONE, 2, 100, [1])])


def test_a_full_disk_fails_and_recovers(store: SqliteStore) -> None:
    store.commit(session(ONE))
    store._connection.execute("PRAGMA max_page_count = 30")
    with pytest.raises(StoreFailed, match="the disk is full"):
        store.commit([added(ONE, 2, 100, range(2**20, 2**20 + 99_999))])
    before = store.load(ONE, EVERYTHING)
    assert before.head.revision == 1
    store.reopen()
    store.commit([added(ONE, 2, 100, range(2**20, 2**20 + 99_999)), PutState(ONE, state(9_000))])
    assert len(store.text(ONE, 0, EVERYTHING)) == 100_099


def test_a_database_that_is_gone_is_not_begun_anew(store: SqliteStore, folder: Path) -> None:
    database(folder).rename(folder / "elsewhere")
    with pytest.raises(StoreFailed, match="was removed or replaced"):
        store.reopen()
    (folder / "elsewhere").rename(database(folder))
    store.reopen()


@pytest.mark.parametrize("name", [sqlite_file.FILE_NAME, f"{sqlite_file.FILE_NAME}-wal", ""])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_safe_in_files_that_were_removed(
    store: SqliteStore, folder: Path, name: str, *, replaced: bool
) -> None:
    """SQLite goes on writing to files that nobody will find. Put back, they have everything."""
    store.commit(session(ONE))
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    if replaced and name:
        (folder / name).write_bytes(b"garbage")
    for _ in range(2):
        with pytest.raises(StoreFailed):
            store.commit([added(ONE, 2, 100, [7])])
    if name.endswith("-wal"):  # what is in it is in the database when that is closed
        store.reopen()
    else:
        with pytest.raises(StoreFailed):
            store.reopen()
        if not name:
            shutil.rmtree(folder, ignore_errors=True)
        elsewhere.rename(folder / name)
        store.reopen()
    store.commit([added(ONE, 2, 100, [7])])
    with closing(reopened(store, folder)) as again:
        assert list(again.text(ONE, 0, EVERYTHING)) == [*range(100), 7]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_read_only_folder_is_said(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    for parent in list(folder.parents)[:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(65_534)
    try:
        with pytest.raises(CannotOpenStore, match="cannot be used: Permission denied"):
            SqliteStore(folder)
    finally:
        os.seteuid(0)


def test_a_refused_write_leaves_the_store_usable(store: SqliteStore) -> None:
    with pytest.raises(RefusedWrite):
        store.commit([*session(ONE), added(TWO, 1, 0, [1])])
    store.commit(session(ONE))


def test_a_load_after_an_import_has_its_damage_alone(store: SqliteStore, folder: Path) -> None:
    store.commit([*session(ONE), *session(TWO)])
    with other_program(folder) as connection:
        connection.execute("UPDATE state SET record = zeroblob(600) WHERE session = 1")
    with pytest.raises(DamagedRecord, match="state record has another checksum"):
        store.load(ONE, 0)
    assert store.load(TWO, 0).state == state(40)
