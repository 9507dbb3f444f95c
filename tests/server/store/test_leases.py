"""What holds for the leases of every store that daemons share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import EVERYTHING, HEADER, ONE, TWO, added, content, session, state

from cellwire.server.errors import AlreadyExists, Moved, NotFound
from cellwire.server.store.leases import (
    Holder,
    LeaseMessage,
    LeaseMessageKind,
    Leases,
    OpenedStore,
)
from cellwire.server.store.memory_leases import SharedMemory
from cellwire.server.store.redis_keys import DAEMON
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, KeepUntil, PutState, Release, Write


class Shared:
    """Daemons on one store, and the time until leases run out."""

    def __init__(self, open_one: Callable[[], OpenedStore], run_out: Callable[[Leases], None]):
        self._open = open_one
        self.run_out = run_out
        self.opened: list[OpenedStore] = []

    def daemon(self) -> tuple[OpenedStore, Leases]:
        opened = self._open()
        self.opened.append(opened)
        assert opened.leases is not None
        return opened, opened.leases


@pytest.fixture(params=["memory", "redis"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    shared = of_memory() if request.param == "memory" else of_redis(request)
    yield shared
    for opened in shared.opened:
        opened.store.close()


def of_memory() -> Shared:
    now = [0.0]
    memory = SharedMemory(lambda: now[0])

    def run_out(_: Leases) -> None:
        now[0] += memory.lease_s

    return Shared(memory.open, run_out)


def of_redis(request: pytest.FixtureRequest) -> Shared:
    server: RedisServer = request.getfixturevalue("redis_server")

    def run_out(leases: Leases) -> None:
        lease = DAEMON + leases.daemon_id
        with server.client() as client:
            client.pexpire(lease, 1)
            while client.exists(lease):
                pass

    return Shared(server.open, run_out)


def test_who_creates_a_session_holds_it(shared: Shared) -> None:
    (first, leases), (_, others) = shared.daemon(), shared.daemon()
    first.store.commit(session(ONE))
    assert others.claim(ONE) == Holder(leases.daemon_id)
    assert leases.claim(ONE) is None
    first.store.commit([added(ONE, 2, 100, [7])])


def test_a_session_that_is_released_can_be_claimed(shared: Shared) -> None:
    (first, leases), (second, others) = shared.daemon(), shared.daemon()
    first.store.commit([*session(ONE), Release(ONE)])
    assert others.claim(ONE) is None
    second.store.commit([added(ONE, 2, 100, [7])])
    assert first.store.load(ONE, EVERYTHING) == second.store.load(ONE, EVERYTHING)
    assert leases.claim(ONE) == Holder(others.daemon_id)


@pytest.mark.parametrize(
    "write",
    [
        added(ONE, 2, 100, [7]),
        PutState(ONE, state(60)),
        KeepUntil(ONE, 5.0),
        Release(ONE),
        Delete(ONE),
        Create(ONE, HEADER),
    ],
)
def test_a_lost_session_cannot_be_written(shared: Shared, write: Write) -> None:
    (first, leases), (second, others) = shared.daemon(), shared.daemon()
    first.store.commit([*session(ONE), *session(TWO)])
    shared.run_out(leases)
    others.renew()
    assert leases.lost([ONE, TWO]) == []
    assert others.claim(ONE) is None
    before = content(second.store)
    with pytest.raises(RefusedWrite) as refused:
        first.store.commit([KeepUntil(TWO, 1.0), write])
    assert (refused.value.session_id, type(refused.value.error)) == (ONE, Moved)
    assert content(second.store) == before
    assert (leases.renew(), leases.renew()) == (False, True)
    assert leases.lost([TWO, ONE, "3" * 32]) == [ONE]
    first.store.commit([KeepUntil(TWO, 1.0)])
    second.store.commit([added(ONE, 2, 100, [7])])


def test_a_claim_ends_the_epoch_before_it(shared: Shared) -> None:
    (first, leases), (second, others) = shared.daemon(), shared.daemon()
    first.store.commit(session(ONE))
    shared.run_out(leases)
    assert others.claim(ONE) is None
    second.store.commit([Release(ONE)])
    assert leases.renew() is False
    assert leases.lost([ONE]) == [ONE]
    with pytest.raises(RefusedWrite):
        first.store.commit([added(ONE, 2, 100, [7])])
    assert leases.claim(ONE) is None
    first.store.commit([added(ONE, 2, 100, [8])])


def test_a_session_is_claimed_before_it_is_written(shared: Shared) -> None:
    (first, _), (second, others) = shared.daemon(), shared.daemon()
    first.store.commit([*session(ONE), Release(ONE)])
    with pytest.raises(RefusedWrite, match="another daemon"):
        second.store.commit([Delete(ONE)])
    assert others.claim(ONE) is None
    second.store.commit([Delete(ONE)])
    assert content(first.store) == {}


def test_a_session_of_another_daemon_cannot_be_created(shared: Shared) -> None:
    (first, leases), (second, _) = shared.daemon(), shared.daemon()
    first.store.commit(session(ONE))
    with pytest.raises(RefusedWrite) as refused:
        second.store.commit([Create(ONE, replace(HEADER, seed=8))])
    assert type(refused.value.error) is AlreadyExists
    assert leases.claim(ONE) is None


def test_a_session_that_is_not_there_cannot_be_claimed(shared: Shared) -> None:
    opened, leases = shared.daemon()
    with pytest.raises(NotFound):
        leases.claim(ONE)
    opened.store.commit(session(ONE))
    opened.store.commit([Delete(ONE), *session(ONE)])
    opened.store.commit([added(ONE, 2, 100, [7])])
    opened.store.commit([Delete(ONE)])
    with pytest.raises(NotFound):
        leases.claim(ONE)
    with pytest.raises(RefusedWrite, match="no session"):
        opened.store.commit([added(ONE, 2, 100, [7])])


def test_messages_reach_their_daemon(shared: Shared) -> None:
    (_, leases), (_, others) = shared.daemon(), shared.daemon()
    message = LeaseMessage(LeaseMessageKind.HAND_OVER, ONE, leases.daemon_id, takeover=True)
    answer = LeaseMessage(LeaseMessageKind.KEPT, ONE, others.daemon_id)
    assert leases.send(others.daemon_id, message)
    assert others.receive(5.0) == message
    assert others.send(leases.daemon_id, answer)
    assert leases.receive(5.0) == answer
    assert leases.receive(0.0) is None
    assert not leases.send("f" * 32, message)


def test_what_a_daemon_leaves_at_its_end_can_be_claimed(shared: Shared) -> None:
    (first, leases), (_, others) = shared.daemon(), shared.daemon()
    first.store.commit(session(ONE))
    leases.resign()
    assert others.claim(ONE) is None
    assert others.lease_s == leases.lease_s


def test_a_session_that_another_has_deleted_is_lost(shared: Shared) -> None:
    (first, leases), (second, others) = shared.daemon(), shared.daemon()
    first.store.commit(session(ONE))
    assert leases.lost([ONE, TWO]) == []
    shared.run_out(leases)
    assert others.claim(ONE) is None
    assert leases.lost([ONE, TWO]) == [ONE]
    second.store.commit([Delete(ONE)])
    assert leases.lost([ONE, TWO]) == [ONE]
    assert others.lost([ONE, TWO]) == []


def test_a_commit_with_a_release_can_be_committed_again(shared: Shared) -> None:
    (first, leases), (_, others) = shared.daemon(), shared.daemon()
    writes: list[Write] = [*session(ONE), Release(ONE)]
    first.store.commit(writes)
    first.store.commit(writes)
    assert others.claim(ONE) is None
    assert leases.claim(ONE) == Holder(others.daemon_id)
