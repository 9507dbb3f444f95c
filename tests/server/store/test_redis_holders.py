"""Daemons that lose sessions to each other in a Redis server."""

from __future__ import annotations

import pytest
from tests.server.store.redis_server import Opened, Started
from tests.server.store.stored import ONE, added, session, state

from cellwire.server.store.leases import LeaseMessage, LeaseMessageKind
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import KeepUntil, PutState, Write


def test_a_lease_runs_out_by_itself(started: Started, opened: Opened) -> None:
    server = started()
    store, leases = opened(server, lease_s=0.05)
    _, others = opened(server)
    store.commit(session(ONE))
    while others.claim(ONE) is not None:
        pass
    assert not leases.renew()
    assert leases.lost([ONE]) == [ONE]
    with pytest.raises(RefusedWrite, match="another daemon"):
        store.commit([added(ONE, 2, 100, [1])])


@pytest.mark.parametrize("write", [PutState(ONE, state(101)), KeepUntil(ONE, 1.0)])
def test_what_another_daemon_has_changed_is_not_damaged(
    started: Started, opened: Opened, write: Write
) -> None:
    """Read by the place that a daemon knows from before its pause, it may look so."""
    server = started()
    (first, leases), (second, others) = opened(server), opened(server)
    first.commit([*session(ONE), added(ONE, 2, 100, [1])])
    leases.resign()
    assert others.claim(ONE) is None
    second.commit([added(ONE, 3, 101, [2]), PutState(ONE, state(101))])
    with pytest.raises(RefusedWrite, match="another daemon"):
        first.commit([write])


def test_foreign_messages_are_passed_over(started: Started, opened: Opened) -> None:
    server = started()
    _, leases = opened(server)
    message = LeaseMessage(LeaseMessageKind.KEPT, ONE, "0" * 32)
    with server.client() as client:
        assert client.publish(leases._key, b"\x00 hello") == 1
    assert leases.send(leases.daemon_id, message)
    assert leases.receive(5.0) == message
    assert leases.receive(0.0) is None
