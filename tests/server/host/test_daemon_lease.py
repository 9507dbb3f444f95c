"""When a lease is renewed, and what is said of it."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence

import pytest

from cellwire.server.errors import StoreFailed
from cellwire.server.host.daemon_lease import DaemonLease
from cellwire.server.store.leases import Holder, LeaseMessage, LeaseMessageKind

GUARD_S = 10
MESSAGE = LeaseMessage(LeaseMessageKind.KEPT, "1" * 32, "a" * 32)


class Leases:
    """The lease of one daemon, by a clock that stands."""

    daemon_id = "b" * 32
    lease_s = 3.0

    def __init__(self) -> None:
        self.now_s = 0.0
        self.until_s = 3.0
        self.failure: Exception | None = None
        self.renewals = queue.Queue[float]()
        self.inbox = queue.Queue[LeaseMessage]()
        self.resigned = False

    def renew(self) -> bool:
        if self.failure is not None:
            raise self.failure
        lasted = self.now_s < self.until_s
        self.until_s = self.now_s + self.lease_s
        self.renewals.put(self.now_s)
        return lasted

    def receive(self, timeout_s: float) -> LeaseMessage | None:
        try:
            return self.inbox.get(timeout=min(timeout_s, 0.01))
        except queue.Empty:
            return None

    def claim(self, session_id: str) -> Holder | None:
        raise NotImplementedError

    def lost(self, session_ids: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def send(self, daemon_id: str, message: LeaseMessage) -> bool:
        raise NotImplementedError

    def resign(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.resigned = True


class Listener:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard_all = queue.Queue[object]()

    def heard(self, message: LeaseMessage) -> None:
        self.heard_all.put(message)

    def renewed(self) -> None:
        self.heard_all.put("renewed")

    def lapsed(self, lapses: int) -> None:
        self.heard_all.put(lapses)

    def failing(self, error: StoreFailed) -> None:
        self.heard_all.put(str(error))

    def well(self) -> None:
        self.heard_all.put("well")

    def next(self) -> object:
        return self.heard_all.get(timeout=GUARD_S)


class Kept:
    """A lease that is kept."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.listener = Listener()
        self.lease = DaemonLease(self.leases, lambda: self.leases.now_s)

    def start(self) -> None:
        self.lease.start(self.listener)
        assert self.listener.next() == "renewed"
        assert self.leases.renewals.get(timeout=GUARD_S) == 0.0

    def end(self) -> None:
        self.leases.failure = None
        self.lease.end(resign=True)


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    kept.start()
    yield kept
    kept.end()


def test_it_is_renewed_after_each_third(kept: Kept) -> None:
    for now_s in (1.0, 2.0, 3.5):
        kept.leases.now_s = now_s
        assert kept.leases.renewals.get(timeout=GUARD_S) == now_s
        assert kept.listener.next() == "renewed"
        assert kept.lease.is_sure
    kept.leases.now_s = 4.0
    kept.leases.inbox.put(MESSAGE)
    assert kept.listener.next() == MESSAGE
    assert kept.leases.renewals.empty()


def test_after_a_lapse_it_is_sure_when_it_is_known_what_was_lost(kept: Kept) -> None:
    kept.leases.now_s = 3.0
    assert kept.listener.next() == 1
    assert not kept.lease.is_sure
    kept.leases.now_s = 6.0
    assert kept.listener.next() == 2
    kept.lease.note_seen(1)
    assert not kept.lease.is_sure
    kept.lease.note_seen(2)
    assert kept.lease.is_sure
    kept.lease.note_seen(1)
    assert kept.lease.is_sure


def test_what_was_said_before_a_lapse_counts_no_more(kept: Kept) -> None:
    """Another daemon that asked for a session then has claimed it, and given it back perhaps."""
    with kept.leases.inbox.mutex:
        kept.leases.inbox.queue.extend([MESSAGE] * 5)
        kept.leases.now_s = 3.0
        kept.leases.inbox.not_empty.notify()
    assert kept.listener.next() == 1
    again = LeaseMessage(LeaseMessageKind.HAND_OVER, "2" * 32, "a" * 32)
    while kept.listener.heard_all.empty():
        kept.leases.inbox.put(again)
    assert kept.listener.next() == again


@pytest.mark.parametrize("failure", [StoreFailed("no answer"), ValueError("a fault")])
def test_a_store_that_fails_is_tried_again(kept: Kept, failure: Exception) -> None:
    kept.leases.failure = failure
    kept.leases.now_s = 2.0
    assert str(failure) in str(kept.listener.next())
    kept.leases.now_s = 10.0
    assert kept.lease.is_sure  # as far as anybody can know
    kept.leases.failure = None
    assert kept.listener.next() == "well"
    assert kept.listener.next() == 1
    assert not kept.lease.is_sure


def test_its_end_ends_the_lease() -> None:
    kept = Kept()
    assert not kept.lease.is_sure
    kept.start()
    kept.lease.end(resign=False)
    assert not kept.leases.resigned
    kept.lease.end(resign=True)
    assert kept.leases.resigned


def test_a_lease_that_cannot_be_ended_runs_out(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.leases.failure = StoreFailed("no answer")
    kept.lease.end(resign=True)
    assert "ends late: no answer" in caplog.text
