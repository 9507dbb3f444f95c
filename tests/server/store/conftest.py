"""The stores that the tests run with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.store import Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kept: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path, "NORMAL")
    yield kept
    kept.close()
