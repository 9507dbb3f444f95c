"""The stores that the tests run with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.server.store.redis_server import Opened, RedisServer, Started

from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.redis import RedisStore
from cellwire.server.store.redis_leases import RedisLeases
from cellwire.server.store.redis_link import RedisLink
from cellwire.server.store.server_checks import ServerChecks
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


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    servers: list[RedisServer] = []

    def start(**options: object) -> RedisServer:
        server = RedisServer(tmp_path / str(len(servers)), **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as stack:

        def open_store(
            server: RedisServer, replicas: int = 0, lease_s: float = 5.0
        ) -> tuple[RedisStore, RedisLeases]:
            link = RedisLink(server.url, replicas=replicas, timeout_s=1.0, wait_s=0.2)
            leases = RedisLeases(link, lease_s)
            store = RedisStore(link, leases, ServerChecks(link, replicas))
            stack.callback(store.close)
            return store, leases

        yield open_store


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
