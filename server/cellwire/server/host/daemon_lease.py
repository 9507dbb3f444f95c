"""The lease of a daemon that shares its store: a thread that renews it, and hears the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from cellwire.server.errors import StoreFailed
from cellwire.server.host.own_thread import OwnThread
from cellwire.server.store.leases import LeaseMessage, Leases

_log = logging.getLogger(__name__)

_MOST_WAIT_S = 0.25  # for a message: the thread ends so soon
_END_TIMEOUT_S = 2.0  # unless the store hangs


class LeaseListener(Protocol):
    """Called in the lease's thread. Its methods must not block or raise."""

    def heard(self, message: LeaseMessage) -> None:
        """Hear what another daemon says."""

    def renewed(self) -> None:
        """Hear that the lease lasts from now on."""

    def lapsed(self, lapses: int) -> None:
        """Hear that the lease had run out, for the `lapses`-th time.

        Others may hold sessions of this daemon. `DaemonLease.sure` follows when those are known.
        """

    def failing(self, error: StoreFailed) -> None:
        """Hear that the lease cannot be renewed at present."""

    def well(self) -> None:
        """Hear that it can be renewed again."""


class DaemonLease:
    """Renews a lease after each third of its time, and receives messages in between.

    While the store fails it tries again and again; whether the lease has run out meanwhile, the
    store says.
    """

    def __init__(self, leases: Leases, clock: Callable[[], float]) -> None:
        """Nothing runs before `start`. `clock` goes on while the process is stopped."""
        self._leases = leases
        self._clock = clock
        self._listener: LeaseListener
        self._failing: StoreFailed | None = None
        self._next_s = clock()  # when it is renewed next
        self._until_s = clock()  # as far as this daemon can tell
        self.lapses = 0  # how often the lease had run out
        self._seen_lapses = 0
        self._ending = threading.Event()
        self._thread = OwnThread("cellwire-lease", self._run)

    def start(self, listener: LeaseListener) -> None:
        """Start the thread."""
        self._listener = listener
        self._thread.start()

    def end(self, *, resign: bool) -> None:
        """End the thread, and to `resign` the lease as well; waits for that, but not for long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_END_TIMEOUT_S)
        if resign:
            try:
                self._leases.resign()
            except StoreFailed as error:
                _log.warning("the lease ends late: %s", error)

    @property
    def is_sure(self) -> bool:
        """Whether no other daemon can hold a session of this one.

        While the store fails nobody knows, and sessions go on.
        """
        known = self._seen_lapses == self.lapses
        return (known and self._clock() < self._until_s) or self._failing is not None

    def note_seen(self, lapses: int) -> None:
        """Note that the sessions are known that others have taken at so many lapses."""
        self._seen_lapses = max(self._seen_lapses, lapses)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                message = self._renew_and_receive()
            except StoreFailed as error:
                self._note_failure(error)
            # Without the thread, others would take the sessions of this daemon.
            except Exception as error:  # noqa: BLE001
                _log.exception("the lease of the daemon has a fault")
                self._note_failure(StoreFailed(f"the lease of the daemon has a fault: {error!r}"))
            else:
                if message is not None:
                    self._listener.heard(message)

    def _renew_and_receive(self) -> LeaseMessage | None:
        now_s = self._clock()
        if now_s >= self._next_s:
            self._renew(now_s)
            self._next_s = now_s + self._leases.lease_s / 3
        wait_s = min(_MOST_WAIT_S, max(0.0, self._next_s - self._clock()))
        message = self._leases.receive(wait_s)
        # The process may have been stopped since the message was sent.
        return message if self._clock() < self._until_s else None

    def _renew(self, now_s: float) -> None:
        lasted = self._leases.renew()
        if not lasted:
            self.lapses += 1
            _log.warning("the lease of this daemon had run out; others may have its sessions")
        self._until_s = now_s + self._leases.lease_s
        if self._failing is not None:
            _log.warning("the lease of this daemon is renewed again")
            self._failing = None
            self._listener.well()
        if lasted:
            self._listener.renewed()
        else:
            self._listener.lapsed(self.lapses)
            while self._leases.receive(0.0) is not None:
                pass  # whoever still wants a session asks again; the others have theirs

    def _note_failure(self, error: StoreFailed) -> None:
        self._next_s = self._clock()
        if self._failing is None:
            _log.error("the lease of this daemon cannot be renewed: %s", error)
            self._failing = error
            self._listener.failing(error)
        self._ending.wait(self._leases.lease_s / 10)
