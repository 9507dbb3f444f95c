"""The stores that the tests run with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.store.redis_server import RedisServer

from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.store import Store


@pytest.fixture(scope="session")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests of a run share."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """A server without anything in it."""
    with running_redis.client() as client:
        client.flushall()
    return running_redis


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kept: Store
    match request.param:
        case "memory":
            kept = MemoryStore()
        case "sqlite":
            kept = SqliteStore(tmp_path, "NORMAL")
        case _:
            kept = request.getfixturevalue("redis_server").open().store
    yield kept
    kept.close()
