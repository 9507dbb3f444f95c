"""The sessions of a Redis server, for whoever runs the daemons."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

import pytest
from tests.server.host.test_operator_store import NOW_S, session
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import ONE, TWO

from cellwire.server.errors import (
    AlreadyExists,
    CannotOpenStore,
    FailedPrecondition,
    NotFound,
    StoreFailed,
)
from cellwire.server.host.operator_store import OperatorStore
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.writes import Release


@pytest.fixture
def daemon(redis_server: RedisServer) -> Iterator[OpenedStore]:
    """The store of a daemon that holds the session ONE; nobody holds TWO."""
    opened = redis_server.open()
    opened.store.commit([*session(ONE), *session(TWO), Release(TWO)])
    yield opened
    assert opened.leases is not None
    opened.leases.resign()
    opened.store.close()


@pytest.fixture
def store(daemon: OpenedStore, redis_server: RedisServer) -> OperatorStore:
    del daemon
    return OperatorStore(redis_server.url, clock=lambda: NOW_S)


def test_all_is_read_whoever_holds_it(store: OperatorStore, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        before = client.dbsize()
        assert [facts.session_id for facts in store.sessions()] == [ONE, TWO]
        assert store.session(ONE).model == "austen"
        assert store.export(ONE)
        assert client.dbsize() == before  # nothing is written


def test_what_a_daemon_holds_is_not_written(store: OperatorStore, daemon: OpenedStore) -> None:
    with pytest.raises(FailedPrecondition, match=r"a daemon holds the session .*--target"):
        store.delete(ONE)
    data = store.export(ONE)
    with pytest.raises(AlreadyExists):
        store.restore(data, ONE, "safe_later")
    assert daemon.store.head(ONE).length == 100


def test_sessions_are_deleted_and_put_back(store: OperatorStore, daemon: OpenedStore) -> None:
    data = store.export(TWO)
    store.delete(TWO)
    with pytest.raises(NotFound):
        store.delete(TWO)
    assert store.restore(data, TWO, "safe_first") == TWO
    assert store.export(TWO) == data
    assert daemon.leases is not None
    assert daemon.leases.claim(TWO) is None  # nobody holds it


def test_a_server_that_is_not_there_is_named() -> None:
    nowhere = OperatorStore("redis://127.0.0.1:1/0")
    with pytest.raises(StoreFailed, match="see that it runs"):
        nowhere.sessions()
    with pytest.raises((StoreFailed, CannotOpenStore), match="see that it runs"):
        nowhere._access.write(ONE, [])
    with pytest.raises(CannotOpenStore, match="no address"):
        OperatorStore("http://127.0.0.1/").sessions()


def test_the_package_may_be_missing(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module = builtins.__import__

    def without_redis(name: str, *arguments: object) -> object:
        if name.startswith("cellwire.server.store.redis"):
            raise ModuleNotFoundError(name="redis")
        return import_module(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(CannotOpenStore, match=r"pip install 'cellwire\[redis\]'"):
        OperatorStore(redis_server.url).sessions()
