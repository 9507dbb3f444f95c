"""The writer with the store that it is made for, on disks that are full."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.host.fake_store import LIMIT_S, Heard, Pauses
from tests.server.store.stored import EVERYTHING, ONE, TWO, added, session

from cellwire.server.errors import StoreFailed
from cellwire.server.host.store_writer import StoreWriter
from cellwire.server.store.sqlite import SqliteStore

MOST_BYTES = 400_000
REPOSITORY = Path(__file__).parents[3]
LONG = range(2**20, 2**20 + 200_000)


def test_a_writer_catches_up_when_the_disk_has_room_again(tmp_path: Path) -> None:
    heard, pauses = Heard(), Pauses()
    pauses.hold()
    with closing(SqliteStore(tmp_path)) as store:
        writer = StoreWriter(store, heard, pause=pauses)
        writer.start()
        writer.write([*session(ONE), *session(TWO)])
        writer.flush().result(LIMIT_S)
        store._connection.execute("PRAGMA max_page_count = 30")
        writer.write([added(ONE, 2, 100, LONG)])
        pauses.wait_for_pause()
        writer.write([added(ONE, 3, 100, [1]), added(TWO, 2, 100, [2])])
        assert "the disk is full" in str(writer.failing)
        assert heard.revisions == {ONE: 1, TWO: 1}
        pauses.end()
        writer.flush().result(LIMIT_S)
        assert heard.calls == ["safe", "failing", "well", "safe", "safe"]
        assert list(store.text(ONE, 90, EVERYTHING)) == [*range(90, 100), 1]
        assert heard.revisions == {ONE: 3, TWO: 2}
        assert writer.close(LIMIT_S)


def fill(folder: Path) -> None:
    """Commit until no file may grow, then go on with more room; in a process of its own."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    store = SqliteStore(folder)
    store.commit(session(ONE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, hard))
    try:
        store.commit([added(ONE, 2, 100, LONG)])
    except StoreFailed as error:
        print(error)  # noqa: T201  # the test reads it
    assert store.head(ONE).revision == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    store.reopen()
    store.commit([added(ONE, 2, 100, LONG)])
    store.close()


@pytest.mark.slow
def test_files_that_may_not_grow_fail_and_recover(tmp_path: Path) -> None:
    code = f"from {__name__} import fill; from pathlib import Path; fill(Path({str(tmp_path)!r}))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "the database" in run.stdout
    with closing(SqliteStore(tmp_path)) as store:
        assert len(store.text(ONE, 0, EVERYTHING)) == 100 + len(LONG)
