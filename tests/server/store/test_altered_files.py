"""Altered bytes in the database: a session is as it was, or says that it is damaged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import cast

import pytest
from tests.server.store.stored import EVERYTHING, added, content, database, session, session_id_of

from cellwire.server.errors import CannotOpenStore, DamagedRecord, NotFound, StoreFailed
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.sqlite_file import Synchronous
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import KeepUntil

TRIALS = 60
SESSIONS = 40
NAMES = [session_id_of(number) for number in range(SESSIONS)]
PAGE_BYTES = 4_096  # the first page is the file's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    with closing(SqliteStore(path, "NORMAL")) as store:
        for name in NAMES:
            store.commit(session(name, 3_000, 2_500))
            store.commit([added(name, 2, 2_800, range(99), done=2), KeepUntil(name, 50.0)])
    return path


def test_altered_bytes_hurt_few_sessions_and_are_told(folder: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(folder)) as store:
        whole = content(store)
    random = Random(15)
    size = database(folder).stat().st_size
    hurt: list[int] = []
    for _ in range(TRIALS):
        shutil.rmtree(tmp_path)
        shutil.copytree(folder, tmp_path)
        with database(tmp_path).open("r+b") as file:
            file.seek(random.randrange(PAGE_BYTES, size))
            file.write(random.randbytes(random.choice([1, 1, 8, 200])))
        hurt.append(sessions_hurt(tmp_path, whole))
    assert 0 < sum(hurt) / TRIALS < 3
    assert sum(each > SESSIONS // 2 for each in hurt) <= TRIALS // 20


def sessions_hurt(folder: Path, whole: Mapping[str, object]) -> int:
    """The number of sessions that are not as they were, or cannot be written; each says so."""
    hurt = 0
    try:
        store = SqliteStore(folder, cast("Synchronous", "OFF"))
    except CannotOpenStore:
        return SESSIONS
    with closing(store):
        for name in NAMES:
            try:
                loaded = store.load(name, EVERYTHING)
                # A last change whose key is altered is not missed: the session is an earlier one.
                # Its client misses it, who knows which revision was safe.
                if loaded != whole[name]:
                    assert loaded.head.revision < 2, "altered, and not said"
                    hurt += 1
                    continue
                store.commit([added(name, 3, 2_899, [5])])
                assert store.head(name).revision == 3
            except (DamagedRecord, NotFound, RefusedWrite):
                hurt += 1
            except StoreFailed:
                hurt += 1
                store.reopen()
    return hurt
