"""A Redis server that dies, hangs, is full, or is not as safe as asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from tests.server.store.redis_server import Opened, RedisServer, Started
from tests.server.store.stored import EVERYTHING, ONE, TWO, added, content, session

from cellwire.server.errors import StoreFailed
from cellwire.server.store import redis_wanted
from cellwire.server.store.leases import LeaseMessage, LeaseMessageKind
from cellwire.server.store.redis import RedisStore
from cellwire.server.store.redis_link import in_words
from cellwire.server.store.writes import Delete, Release, Write


def commit_in_time(store: RedisStore, writes: list[Write]) -> None:
    """Commit as the writer does: after a failure, reopen and commit the same again."""
    try:
        store.commit(writes)
    except StoreFailed:
        store.reopen()
        store.commit(writes)


def wait_for_replica(server: RedisServer) -> None:
    with server.client() as client:
        while not client.set("something", "1") or client.wait(1, 1_000) < 1:
            pass


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_what_is_committed_survives_the_death_of_the_server(
    started: Started, opened: Opened, policy: str
) -> None:
    server = started(appendfsync=policy)
    store, _ = opened(server)
    store.commit(session(ONE))
    for revision in range(2, 6):
        server.restart()
        commit_in_time(store, [added(ONE, revision, 98 + revision, [revision])])
    assert list(store.text(ONE, 100, EVERYTHING)) == [2, 3, 4, 5]
    before = content(store)
    server.restart()
    store.reopen()  # with everysec, the last may have to be given again
    assert content(store) == before


def test_a_server_that_is_away_fails_and_comes_back(started: Started, opened: Opened) -> None:
    server = started()
    store, leases = opened(server)
    store.commit(session(ONE))
    server.kill()
    calls: list[Callable[[], object]] = [
        lambda: store.commit([added(ONE, 2, 100, [1])]),
        lambda: store.load(ONE, 1),
        lambda: store.head(ONE),
        lambda: store.text(ONE, 0, 1),
        store.sessions,
        lambda: store.expired(1.0),
        store.reopen,
        leases.renew,
        lambda: leases.claim(ONE),
        lambda: leases.lost([ONE]),
        lambda: leases.receive(0.0),
    ]
    for call in calls:
        with pytest.raises(StoreFailed, match="see that it runs"):
            call()
    server.start()
    store.reopen()
    store.commit([added(ONE, 2, 100, [1])])
    assert leases.receive(0.0) is None
    message = LeaseMessage(LeaseMessageKind.HAND_OVER, ONE, "0" * 32)
    assert leases.send(leases.daemon_id, message)
    assert leases.receive(5.0) == message
    leases.resign()


def test_a_server_that_hangs_fails_in_time(started: Started, opened: Opened) -> None:
    server = started()
    store, _ = opened(server)
    store.commit(session(ONE))
    writes: list[Write] = [added(ONE, 2, 100, [1]), Delete(TWO), *session(TWO)]
    server.pause()
    with pytest.raises(StoreFailed, match="does not answer in time"):
        store.commit(writes)
    server.go_on()
    store.reopen()
    store.commit(writes)
    store.commit([added(ONE, 3, 101, [2]), added(TWO, 2, 100, [3])])
    assert list(store.text(ONE, 100, 200)) == [1, 2]


def test_a_full_server_takes_only_what_frees_it(started: Started, opened: Opened) -> None:
    server = started()
    store, leases = opened(server)
    third = "3" * 32
    store.commit([*session(ONE), *session(TWO), *session(third)])
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1)
        writes: list[Write] = [added(ONE, 2, 100, range(9)), Delete(TWO), Release(third)]
        with pytest.raises(StoreFailed, match="its maxmemory is reached: raise it"):
            store.commit(writes)
        assert store.head(ONE).revision == 1
        assert list(content(store)) == [ONE, third]
        assert leases.claim(third) is None
        assert leases.renew()
        client.config_set("maxmemory", 0)
    store.reopen()
    store.commit([added(ONE, 2, 100, range(9)), Delete(TWO)])
    assert store.head(ONE).revision == 2


def test_a_primary_that_becomes_a_replica_fails(started: Started, opened: Opened) -> None:
    server, other = started(), started()
    store, _ = opened(server)
    store.commit(session(ONE))
    with server.client() as client:
        client.replicaof("127.0.0.1", other.port)
        with pytest.raises(StoreFailed, match="it is a replica: give --state the primary"):
            store.commit([added(ONE, 2, 100, [1])])
        with pytest.raises(StoreFailed, match="is a replica"):
            store.reopen()


def test_a_commit_waits_for_replicas(started: Started, opened: Opened) -> None:
    server = started()
    replica = started(replicaof=f"127.0.0.1 {server.port}")
    wait_for_replica(server)
    store, leases = opened(server, replicas=1)
    store.commit(session(ONE))
    with replica.client() as client:
        assert client.exists("cellwire:{" + ONE + "}")
    replica.pause()
    writes: list[Write] = [added(ONE, 2, 100, [1])]
    calls: list[Callable[[], object]] = [
        lambda: store.commit(writes),
        store.reopen,
        lambda: store.commit(writes),
        lambda: leases.claim(ONE),
    ]
    for call in calls:
        with pytest.raises(StoreFailed, match=r"has reached 0 replicas .* asks for 1"):
            call()
    replica.go_on()
    wait_for_replica(server)
    store.reopen()
    store.commit(writes)
    assert store.head(ONE).revision == 2


def test_many_sessions_are_committed_in_parts(
    started: Started, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_wanted, "MOST_BYTES", 3_000)
    store, _ = opened(started())
    ids = [f"{number:032x}" for number in range(20)]
    store.commit([write for name in ids for write in session(name)])
    assert list(content(store)) == ids


def test_a_long_text_is_one_commit(started: Started, opened: Opened) -> None:
    store, _ = opened(started())
    store.commit(session(ONE, 2_000_000, 1_999_000))
    assert store.head(ONE).length == 2_000_000
    assert list(store.text(ONE, 1_500_000, 1_500_003)) == [1_500_000, 1_500_001, 1_500_002]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), "look at its log"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas"), "min-replicas-to-write"),
        (redis.ResponseError("BUSY Redis is busy running a script"), "SCRIPT KILL"),
        (redis.BusyLoadingError("Redis is loading"), "answers when that is done"),
        (redis.OutOfMemoryError("full. script: 12, on @user_script:3."), "full.; its maxmemory"),
        (redis.ResponseError("ERR something else"), "ERR something else"),
        (redis.ConnectionError(), "ConnectionError; see that it runs"),
    ],
)
def test_errors_say_what_to_do(error: Exception, advice: str) -> None:
    assert advice in in_words(error)
