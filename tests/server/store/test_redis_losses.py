"""A Redis server that has lost what was safe: it is given again, or nothing has a hole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.server.store.redis_server import Opened, RedisServer, Started
from tests.server.store.stored import EVERYTHING, HEADER, ONE, TWO, added, content, session, state

from cellwire.server.errors import Aborted, NotFound, StoreFailed
from cellwire.server.state.change import Restoration
from cellwire.server.store.leases import Holder
from cellwire.server.store.recent_writes import Recent, RecentWrites
from cellwire.server.store.redis import RedisStore
from cellwire.server.store.redis_keys import hash_key
from cellwire.server.store.redis_leases import RedisLeases
from cellwire.server.store.redis_link import Command
from cellwire.server.store.redis_reader import RedisReader
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import (
    Create,
    Delete,
    PutCheckpoint,
    PutState,
    Release,
    RestoreCheckpoint,
)


def cut(server: RedisServer, size: int) -> None:
    """Let the server restart with only so much of its append-only file, as after a power cut.

    With appendfsync no, what was answered is in the file; everysec may write it later.
    """
    server.kill()
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    with file.open("r+b") as opened_file:
        opened_file.truncate(size)
    server.start()


def aof_size(server: RedisServer) -> int:
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return file.stat().st_size


@pytest.mark.parametrize("restarts", [False, True])
def test_what_another_daemon_has_deleted_does_not_come_back(
    started: Started, opened: Opened, *, restarts: bool
) -> None:
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    first.commit(session(ONE))
    leases.resign()
    assert others.claim(ONE) is None
    second.commit([Delete(ONE)])
    if restarts:
        server.restart()
        first.reopen()
        second.reopen()
    with pytest.raises(RefusedWrite) as refused:
        first.commit([added(ONE, 2, 100, [1])])
    assert isinstance(refused.value.error, NotFound)
    first.commit([*session(TWO)])
    assert list(content(first)) == [TWO]


@pytest.mark.parametrize("first_again", ["creation", "deletion"])
def test_a_deletion_outlives_a_loss_of_both(
    started: Started, opened: Opened, first_again: str
) -> None:
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    size = aof_size(server)
    first.commit(session(ONE))
    leases.resign()
    assert others.claim(ONE) is None
    second.commit([Delete(ONE)])
    cut(server, size)
    stores = [first, second] if first_again == "creation" else [second, first]
    for store in stores:
        store.reopen()
    assert content(first) == {}


def test_what_is_old_is_not_written_again() -> None:
    now_s = [0.0]
    recent = Recent(lambda: now_s[0], window_s=10.0, most_bytes=1_000)
    recent.add(RecentWrites(ONE, -1, 1, session(ONE, 1, 1)[:2]))
    now_s[0] = 8.0
    recent.add(RecentWrites(TWO, -1, 1, session(TWO, 1, 1)[:1]))
    assert list(recent.by_session()) == [ONE, TWO]
    now_s[0] = 11.0
    assert list(recent.by_session()) == [TWO]
    recent.add(RecentWrites(ONE, 1, 1, session(ONE, 300, 1)))
    assert list(recent.by_session()) == []


def test_states_of_before_a_restore_elsewhere_do_not_come_back(
    started: Started, opened: Opened
) -> None:
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    first.commit([*session(ONE, 1, 0), PutCheckpoint(ONE, "a", 1)])
    first.commit([added(ONE, 2, 1, range(50)), PutState(ONE, state(40)), Release(ONE)])
    assert others.claim(ONE) is None
    again = RestoreCheckpoint(ONE, Restoration(3, "a", ()))
    second.commit([again, added(ONE, 4, 1, range(60)), Release(ONE)])
    assert leases.claim(ONE) is None
    first.commit([added(ONE, 5, 61, [7])])
    before = first.load(ONE, EVERYTHING)
    assert before.state is None
    server.restart()
    first.reopen()
    second.reopen()
    assert first.load(ONE, EVERYTHING) == before


@pytest.fixture
def cut_server(started: Started, opened: Opened) -> tuple[RedisServer, RedisStore, RedisLeases]:
    """A server that has lost revision 2 of ONE, and all of TWO."""
    server = started()
    store, leases = opened(server)
    store.commit(session(ONE))
    size = aof_size(server)
    store.commit([added(ONE, 2, 100, [1, 2])])
    store.commit(session(TWO))
    cut(server, size)
    return server, store, leases


def test_what_a_server_has_lost_is_given_again(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases],
) -> None:
    _, store, leases = cut_server
    assert store.head(ONE).revision == 1
    store.commit([added(ONE, 3, 101, [3])])
    assert list(store.text(ONE, 100, 200)) == [1, 3]
    assert store.head(TWO).revision == 1
    assert leases.claim(TWO) is None


@pytest.mark.parametrize("by", ["renew", "reopen"])
def test_a_restart_is_noticed_without_a_write(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases], by: str
) -> None:
    _, store, leases = cut_server
    if by == "renew":
        leases.renew()
    else:
        store.reopen()
    assert (store.head(ONE).revision, store.head(TWO).revision) == (2, 1)


def test_a_renewal_waits_for_no_commit(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases],
) -> None:
    _, store, leases = cut_server
    with store._writing:
        leases.renew()
        assert store.head(ONE).revision == 1
    leases.renew()
    assert store.head(ONE).revision == 2


def test_a_session_of_which_more_is_lost_is_refused(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases],
) -> None:
    _, store, leases = cut_server
    store._committer._recent = Recent(lambda: 0.0)  # it was long ago
    with pytest.raises(RefusedWrite) as refused:
        store.commit([added(ONE, 3, 101, [3])])
    assert isinstance(refused.value.error, Aborted)
    assert "safe up to revision 2, and is stored up to revision 1" in str(refused.value.error)
    with pytest.raises(RefusedWrite) as refused:
        store.commit([added(TWO, 2, 100, [3])])
    assert isinstance(refused.value.error, NotFound)
    assert leases.claim(ONE) is None
    store.commit([added(ONE, 2, 100, [9])])
    assert list(store.text(ONE, 100, 200)) == [9]


def test_a_gap_before_what_is_known_is_not_closed(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases],
) -> None:
    """Revision 3 is known, and 2 is not: given again, it would make a hole."""
    server, store, _ = cut_server
    store.reopen()
    recent = Recent(lambda: 0.0)
    size = aof_size(server)
    store._committer._recent = recent
    store.commit([added(ONE, 3, 102, [3])])
    entry = recent._entries[-1]
    assert entry.base == 2
    with server.client() as client:
        client.delete("cellwire:{" + ONE + "}")
    store._committer.repair()
    with pytest.raises(NotFound):
        store.head(ONE)
    assert size


def test_deletions_that_are_lost_are_carried_out_again(started: Started, opened: Opened) -> None:
    server = started()
    store, leases = opened(server)
    names = [f"{number:032x}" for number in range(4)]
    store.commit([write for name in names for write in session(name)])
    size = aof_size(server)
    other = replace(HEADER, seed=8)
    store.commit([Delete(names[0]), Delete(names[1]), Create(names[1], other)])
    store.commit([added(names[1], 1, 0, [1]), added(names[2], 2, 100, [2]), Release(names[2])])
    assert leases.claim(names[2]) is None
    store.commit([Delete(names[3]), Create(names[3], other)])
    after = content(store)
    cut(server, size)
    store.reopen()
    assert content(store) == after
    store.commit([added(names[1], 2, 1, [1]), added(names[2], 3, 101, [2])])
    store.commit([added(names[3], 1, 0, [1])])
    store._committer.repair()
    assert [store.head(name).revision for name in names[1:]] == [2, 3, 1]


def test_a_repair_passes_over_what_is_damaged(
    cut_server: tuple[RedisServer, RedisStore, RedisLeases],
) -> None:
    server, store, _ = cut_server
    with server.client() as client:
        client.hset(hash_key(ONE), "p", b"damaged")
    store.reopen()
    found = content(store)
    assert list(found) == [ONE, TWO]
    assert found[ONE] == "damaged"


def test_a_repair_passes_over_what_is_refused(started: Started, opened: Opened) -> None:
    server = started()
    store, _ = opened(server)
    store.commit([*session(ONE), *session(TWO)])
    size = aof_size(server)
    store.commit([PutState(ONE, state(60)), added(TWO, 2, 100, [1])])
    cut(server, size)
    with server.client() as client:
        client.hset(hash_key(ONE), "t0", b"damaged")
    store.reopen()
    assert store.head(TWO).revision == 2


def test_a_repair_passes_over_what_changes_meanwhile(
    started: Started, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started()
    store, _ = opened(server)
    store.commit([*session(ONE), *session(TWO)])
    size = aof_size(server)
    store.commit([added(ONE, 2, 100, [1]), added(TWO, 2, 100, [1])])
    cut(server, size)
    write = store._link.write

    def changing(*commands: Command) -> object:
        with server.client() as client:
            client.hset(hash_key(ONE), "e", str(2**50))
        return write(*commands)

    monkeypatch.setattr(store._link, "write", changing)
    store._committer.repair()
    assert (store.head(ONE).revision, store.head(TWO).revision) == (1, 2)


def test_a_release_of_which_nobody_knows_is_carried_out_once(
    started: Started, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started()
    (store, leases), (second, others) = opened(server), opened(server)
    store.commit(session(ONE))
    write = store._link.write

    def unheard(*commands: Command) -> None:
        write(*commands)
        raise StoreFailed

    with monkeypatch.context() as patched:
        patched.setattr(store._link, "write", unheard)
        with pytest.raises(StoreFailed):
            store.commit([added(ONE, 2, 100, [1]), Release(ONE)])
    assert others.claim(ONE) is None
    second.commit([added(ONE, 3, 101, [2])])
    store.commit([added(ONE, 2, 100, [1]), Release(ONE)])
    assert list(second.text(ONE, 100, 200)) == [1, 2]
    assert leases.claim(ONE) == Holder(others.daemon_id)


def test_a_session_that_never_stays_the_same_is_not_read(
    started: Started, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started()
    store, _ = opened(server)
    store.commit(session(ONE))
    monkeypatch.setattr(RedisReader, "_rows", lambda *_: None)
    for read in (lambda: store.load(ONE, EVERYTHING), lambda: store.text(ONE, 0, 1)):
        with pytest.raises(StoreFailed, match="made anew again and again"):
            read()


def test_a_claim_that_is_lost_is_a_claim_even_so(started: Started, opened: Opened) -> None:
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    first.commit([*session(ONE), Release(ONE)])
    assert leases.claim(ONE) is None
    first.commit([added(ONE, 2, 100, [1])])
    size = aof_size(server)
    first.commit([Release(ONE)])
    assert others.claim(ONE) is None
    second.commit([added(ONE, 3, 101, [2])])
    cut(server, size)
    second.commit([added(ONE, 4, 102, [3])])
    assert list(second.text(ONE, 100, 200)) == [1, 2, 3]
    assert leases.claim(ONE) == Holder(others.daemon_id) or leases.claim(ONE) is None


def test_who_has_claimed_after_a_loss_keeps_it(started: Started, opened: Opened) -> None:
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    first.commit(session(ONE))
    size = aof_size(server)
    first.commit([added(ONE, 2, 100, [1])])
    first.commit([Release(ONE)])
    assert others.claim(ONE) is None
    second.commit([added(ONE, 3, 101, [2])])
    cut(server, size)
    leases.resign()
    third, lasts = opened(server)
    assert lasts.claim(ONE) is None
    third.commit([added(ONE, 2, 100, [7])])
    for store in (first, second):
        with pytest.raises(RefusedWrite, match="another daemon"):
            store.commit([added(ONE, 4, 102, [3])])
    third.commit([added(ONE, 3, 101, [8])])
    assert list(third.text(ONE, 100, 200)) == [7, 8]
