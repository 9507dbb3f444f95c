"""The store that a daemon's settings ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwire.server.errors import CannotOpenStore
from cellwire.server.host.config import Config, StateSync
from cellwire.server.host.opening import open_store
from cellwire.server.store import sqlite


def test_without_a_folder_there_is_none() -> None:
    assert open_store(Config()) is None


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
def test_it_is_as_safe_as_the_settings_say(tmp_path: Path, sync: StateSync, level: int) -> None:
    opened = open_store(Config(state=tmp_path / "state", state_sync=sync))
    assert opened is not None
    assert opened.leases is None
    store = opened.store
    assert isinstance(store, sqlite.SqliteStore)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    store.close()


def test_a_network_file_system_is_refused_unless_the_settings_let_it_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "network_file_system", lambda _: "nfs4")
    with pytest.raises(CannotOpenStore, match="--state-on-network warn"):
        open_store(Config(state=tmp_path / "state"))
    opened = open_store(Config(state=tmp_path / "state", state_on_network="warn"))
    assert opened is not None
    opened.store.close()
    assert "sessions may be lost or damaged" in caplog.text
