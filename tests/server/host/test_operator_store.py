"""The sessions of a store, for whoever runs the daemon."""

from __future__ import annotations

import sqlite3
from array import array
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.store.stored import ONE, TWO, added, database, state

from cellwire.client.commands import operator_store as wanted
from cellwire.model_file.text_end import SETTLED
from cellwire.server.errors import (
    AlreadyExists,
    CannotOpenStore,
    DamagedRecord,
    InvalidArgument,
    NotFound,
)
from cellwire.server.host import operator_store
from cellwire.server.host.operator_store import OperatorStore, StoredFacts
from cellwire.server.host.settings import Durability, Settings
from cellwire.server.host.snapshot_text import earlier_tokens
from cellwire.server.state.change import Change
from cellwire.server.state.snapshot import SnapshotFile, from_bytes, to_bytes
from cellwire.server.state.stored_session import Header
from cellwire.server.store.sqlite import SqliteReader, SqliteStore
from cellwire.server.store.writes import AddChange, Create, KeepUntil, PutState, Write

NOW_S = 1_000_000.0
SETTINGS = Settings(idle_timeout_s=3_600.0, durability=Durability.SAFE_FIRST)
HEADER = Header(
    "ab" * 32,
    seed=7,
    rewind_window=64,
    settings=SETTINGS.stored() | {"model": "austen"},
    created_s=NOW_S - 60,
)


def session(session_id: str, tokens: int = 100, tokens_read: int = 30) -> list[Write]:
    text = Change(1, 0, array("I", range(tokens)), SETTLED, rewind_floor=max(0, tokens - 64))
    return [
        Create(session_id, HEADER),
        AddChange(session_id, text),
        *([PutState(session_id, state(tokens_read))] if tokens_read else []),
        KeepUntil(session_id, NOW_S + 60),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    with closing(SqliteStore(folder)) as store:
        store.commit([*session(ONE), *session(TWO, tokens=40, tokens_read=0)])
    return folder


@pytest.fixture
def store(folder: Path) -> OperatorStore:
    return OperatorStore(str(folder), clock=lambda: NOW_S)


def damage(folder: Path, session_id: str) -> None:
    with closing(sqlite3.connect(database(folder))) as connection, connection:
        connection.execute("UPDATE session SET header = zeroblob(9) WHERE id = ?", (session_id,))


def test_it_is_what_the_commands_want(store: OperatorStore) -> None:
    command: wanted.OperatorStore = store
    facts: wanted.StoredFacts = store.session(ONE)
    assert command.session(ONE) == facts


def test_sessions_come_in_pages(store: OperatorStore) -> None:
    one = StoredFacts(
        ONE, "austen", "ab" * 32, 7, 1, 100, "safe_first", NOW_S - 60, expires_s=NOW_S + 60
    )
    two = replace(one, session_id=TWO, tokens=40)
    assert store.sessions() == [one, two]
    assert store.sessions(limit=1) == [one]
    assert store.sessions(after=ONE) == [two]
    assert store.sessions(after=TWO) == []
    assert store.session(TWO) == two


def test_a_damaged_session_is_listed_as_such(folder: Path, store: OperatorStore) -> None:
    damage(folder, ONE)
    damaged, whole = store.sessions()
    assert "another checksum" in damaged.damage
    assert (damaged.session_id, whole.session_id, whole.damage) == (ONE, TWO, "")
    with pytest.raises(DamagedRecord):
        store.export(ONE)


@pytest.mark.parametrize(("session_id", "tokens", "read"), [(ONE, 100, 30), (TWO, 40, 0)])
def test_an_export_is_what_a_daemon_would_write(
    store: OperatorStore, session_id: str, tokens: int, read: int
) -> None:
    file = from_bytes(store.export(session_id), 2**20)
    assert file.model_sha256 == "ab" * 32
    assert Settings.restored(file.settings, file.session.rewind_window) == SETTINGS
    assert file.session.tokens.tolist() == list(range(tokens))
    assert file.session.tokens_read == read
    assert file.session.seed == 7


@pytest.mark.parametrize("session_id", [ONE, TWO])
def test_an_import_is_the_session_again(
    folder: Path, store: OperatorStore, session_id: str
) -> None:
    data = store.export(session_id)
    assert store.export(store.restore(data, None, "safe_first")) == data
    new_id = store.restore(data, None, "safe_later")
    facts = store.session(new_id)
    assert facts == replace(
        store.session(session_id),
        session_id=new_id,
        durability="safe_later",
        created_s=NOW_S,
        expires_s=NOW_S + 3_600,
    )
    store.delete(session_id)
    assert store.restore(data, session_id, "safe_first") == session_id
    assert store.export(session_id) == data
    with closing(SqliteStore(folder)) as kept:  # and goes on
        kept.commit([added(session_id, 2, kept.head(session_id).length, [3])])


def test_a_text_that_no_session_remembers_is_exported_whole(
    folder: Path, store: OperatorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_store, "_PART", 60_000)
    tokens = array("I", [number % 80 for number in range(300_000)])
    text = Change(1, 0, tokens, SETTLED, rewind_floor=len(tokens) - 64)
    with closing(SqliteStore(folder)) as kept:
        kept.commit([Create("3" * 32, HEADER), AddChange("3" * 32, text)])
        kept.commit([PutState("3" * 32, state(len(tokens) - 100))])
    data = store.export("3" * 32)
    file = from_bytes(data, 2**20)
    assert earlier_tokens(file) + array("I", file.session.tokens.tolist()) == tokens
    store.restore(data, "4" * 32, "safe_first")
    assert store.session("4" * 32).tokens == len(tokens)
    assert store.export("4" * 32) == data
    with closing(SqliteStore(folder)) as kept:
        assert kept.text("4" * 32, 0, len(tokens)) == tokens
    monkeypatch.setattr(SqliteReader, "text", lambda *_: array("I"))
    with pytest.raises(NotFound, match="replaced by another one"):
        store.export("4" * 32)


def test_an_import_from_a_daemon_has_no_models_name(store: OperatorStore) -> None:
    file = from_bytes(store.export(ONE), 2**20)
    from_daemon = SnapshotFile(file.version, file.model_sha256, SETTINGS.stored(), file.session)
    assert store.session(store.restore(to_bytes(from_daemon), None, "safe_later")).model == ""


def test_an_import_that_cannot_be_is_refused(store: OperatorStore) -> None:
    data = store.export(ONE)
    with pytest.raises(AlreadyExists):
        store.restore(data, TWO, "safe_later")
    with pytest.raises(InvalidArgument, match="32 hexadecimal digits"):
        store.restore(data, "chat", "safe_later")
    with pytest.raises(InvalidArgument, match="is durable"):
        store.restore(data, None, "none")
    with pytest.raises(InvalidArgument, match="altered"):
        store.restore(data[:-1], None, "safe_later")
    assert len(store.sessions()) == 2


def test_a_session_is_deleted_damaged_or_not(folder: Path, store: OperatorStore) -> None:
    damage(folder, ONE)
    store.delete(ONE)
    store.delete(TWO)
    assert store.sessions() == []
    with pytest.raises(NotFound):
        store.delete(TWO)


def test_nothing_is_written_beside_a_daemon(folder: Path, store: OperatorStore) -> None:
    with closing(SqliteStore(folder)):
        data = store.export(ONE)
        for write in (lambda: store.delete(ONE), lambda: store.restore(data, None, "safe_later")):
            with pytest.raises(CannotOpenStore, match=r"process \d+ on .*--target HOST:PORT"):
                write()
        assert [facts.session_id for facts in store.sessions()] == [ONE, TWO]


def test_no_store_is_made(tmp_path: Path) -> None:
    store = OperatorStore(str(tmp_path / "nowhere"))
    with pytest.raises(CannotOpenStore, match="no store in"):
        store.sessions()
    with pytest.raises(CannotOpenStore, match="no store in"):
        store._access.write(ONE, [])
    assert not (tmp_path / "nowhere").exists()
