"""What was deleted in a Redis server does not come back from another daemon's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import HEADER, ONE, added

from cellwire.server.errors import NotFound, StoreFailed
from cellwire.server.store.leases import Leases
from cellwire.server.store.redis_committer import Committer
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import Create, Delete, Release, Write

CREATION: list[Write] = [Create(ONE, HEADER), added(ONE, 1, 0, [1, 2, 3])]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, appendfsync="always").start()
    yield server
    server.kill()


@pytest.fixture
def daemons(server: RedisServer) -> Iterator[list[tuple[Store, Leases]]]:
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            opened = server.open(lease_s=0.05)
            stack.callback(opened.store.close)
            assert opened.leases is not None
            found.append((opened.store, opened.leases))
        yield found


def claim(leases: Leases) -> None:
    """Claim the session as soon as its holder's lease has run out."""
    while leases.claim(ONE) is not None:
        pass


def is_stored(store: Store) -> bool:
    with suppress(NotFound):
        store.head(ONE)
        return True
    return False


def delete_unheard(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete the session; the answer is lost."""

    def lose_answer(*_: object) -> None:
        raise StoreFailed("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(Committer, "_note", lose_answer)
        with pytest.raises(StoreFailed):
            store.commit([Delete(ONE)])


def test_a_write_of_a_daemon_that_lost_it(daemons: list[tuple[Store, Leases]]) -> None:
    (first, _), (second, leases) = daemons
    first.commit(CREATION)
    claim(leases)
    second.commit([Delete(ONE)])
    with pytest.raises(RefusedWrite) as refused:
        first.commit([added(ONE, 2, 3, [4, 5])])
    assert isinstance(refused.value.error, NotFound)
    assert not is_stored(second)


def test_a_restart_after_it_has_moved(
    server: RedisServer, daemons: list[tuple[Store, Leases]]
) -> None:
    (first, _), (second, leases) = daemons
    first.commit(CREATION)
    first.commit([Release(ONE)])
    claim(leases)
    second.commit([Delete(ONE)])
    server.restart()
    first.reopen()
    assert not is_stored(first)


def test_a_restart_after_it_has_moved_there_and_back(
    server: RedisServer, daemons: list[tuple[Store, Leases]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, leases), (second, others) = daemons
    first.commit(CREATION)
    first.commit([Release(ONE)])
    claim(others)
    second.commit([added(ONE, 2, 3, [4, 5]), Release(ONE)])
    claim(leases)
    delete_unheard(first, monkeypatch)
    server.restart()
    first.reopen()
    second.reopen()
    assert not is_stored(first)


def test_a_restart_while_it_is_deleted(
    server: RedisServer, daemons: list[tuple[Store, Leases]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion is carried out, and its answer is lost."""
    store, _ = daemons[0]
    store.commit(CREATION)

    delete_unheard(store, monkeypatch)
    server.restart()
    store.reopen()
    assert not is_stored(store)
    store.commit([Delete(ONE)])
