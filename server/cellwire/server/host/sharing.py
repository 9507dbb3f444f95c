"""A daemon among others on one store: which sessions it holds, gets and gives."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from cellwire.server.batch.limits import SAFE_FIRST_TIMEOUT_S
from cellwire.server.errors import StoreFailed, Unavailable
from cellwire.server.host.claiming import Claiming
from cellwire.server.host.daemon_lease import DaemonLease
from cellwire.server.host.hand_over import HandOver
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.turns import Turns
from cellwire.server.store.leases import (
    LeaseMessage,
    LeaseMessageKind,
    Leases,
    held_by_another,
)

_log = logging.getLogger(__name__)

_RETRY_S = 0.1


class Sharing:
    """Follows what the daemon's lease and the other daemons say; used in the event loop only."""

    def __init__(
        self, stored: StoredSessions, leases: Leases, lease: DaemonLease, turns: Turns
    ) -> None:
        self._stored = stored
        self._leases = leases
        self._lease = lease
        self.claiming = Claiming(leases, lease)
        self._hand_over = HandOver(stored, leases, turns, self.claiming)
        self._news = asyncio.Event()  # set when the lease has news, and then another one
        self._tasks = set[asyncio.Task[None]]()
        self._ended = False

    def start(self) -> None:
        """Keep the lease from now on."""
        self._lease.start(_Listener(asyncio.get_running_loop(), self))

    async def end(self) -> None:
        """Do nothing more for other daemons. The lease goes on until the store is closed."""
        self._ended = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hand_over.end()

    async def sure(self) -> None:
        """Wait until no other daemon can hold a session of this one; Unavailable if that is long.

        A daemon that was stopped for a while might answer for sessions that have gone on elsewhere.
        """
        if self._lease.is_sure:
            return
        try:
            async with asyncio.timeout(SAFE_FIRST_TIMEOUT_S):
                while not self._lease.is_sure:
                    await self._news.wait()
        except TimeoutError:
            raise Unavailable("this daemon cannot renew its lease; try again") from None

    # What the lease's thread says

    def hear(self, message: LeaseMessage) -> None:
        """Hear what another daemon says."""
        if message.kind is LeaseMessageKind.HAND_OVER:
            if not self._ended:
                self._hand_over.hear(message)
        else:
            self.claiming.hear(message)

    def note_lapse(self, lapses: int) -> None:
        """End the sessions that other daemons have taken while the lease had run out."""
        task = asyncio.create_task(self._end_lost(lapses))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note_condition(self, error: StoreFailed | None) -> None:
        """Note why the lease cannot be renewed; None if it can."""
        self._stored.note_lease(error)
        self.note_news()

    def note_news(self) -> None:
        """Let those look again who wait until the lease is sure."""
        self._news.set()
        self._news = asyncio.Event()

    async def _end_lost(self, lapses: int) -> None:
        sessions = [session for session in self._stored if session.record.exists]
        look = partial(self._leases.lost, [session.id for session in sessions])
        while True:
            try:
                lost = set(await in_own_thread("look for lost sessions", look))
                break
            except StoreFailed:
                await asyncio.sleep(_RETRY_S)
        if lost:
            _log.warning("%d sessions of this daemon are held by others now", len(lost))
        for session in sessions:
            if session.id in lost and self._stored.find(session.id) is session:
                session.refuse(held_by_another(session.id))
        self._lease.note_seen(lapses)
        self.note_news()


class _Listener:
    """Passes on what the lease says, from its thread into the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sharing: Sharing) -> None:
        self._call = loop.call_soon_threadsafe
        self._sharing = sharing

    def heard(self, message: LeaseMessage) -> None:
        """Pass on a message."""
        self._call(self._sharing.hear, message)

    def renewed(self) -> None:
        """Tell those who wait for it."""
        self._call(self._sharing.note_news)

    def lapsed(self, lapses: int) -> None:
        """Let lost sessions end."""
        self._call(self._sharing.note_lapse, lapses)

    def failing(self, error: StoreFailed) -> None:
        """Note that the lease cannot be renewed at present."""
        self._call(self._sharing.note_condition, error)

    def well(self) -> None:
        """Note that it can be renewed again."""
        self._call(self._sharing.note_condition, None)
