"""How this daemon comes to hold a session that may be another's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from cellwire.server.errors import HasClientElsewhere, Unavailable
from cellwire.server.host.daemon_lease import DaemonLease
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.session_handle import HAS_A_CLIENT
from cellwire.server.store.leases import Holder, LeaseMessage, LeaseMessageKind, Leases

_AGAIN = 0.1  # of a lease's time
_PATIENCE = 2.0
_MOST_PATIENCE_S = 20.0
_MOST_CALLS = 8  # of the store, each in a thread


class _Asked(NamedTuple):
    """A session that was asked for."""

    holder: Holder
    answer: asyncio.Future[LeaseMessageKind]


class Claiming:
    """Claims sessions, and asks the living daemons that hold them to hand them over.

    A message may be lost, and its receiver may have died. So it is sent again after a while, and
    the claim tried again with it: that of a dead holder succeeds when its lease has run out.
    Used in the event loop only, for one claim to each session at a time.
    """

    def __init__(self, leases: Leases, lease: DaemonLease) -> None:
        self._leases = leases
        self._lease = lease
        self._calls = asyncio.Semaphore(_MOST_CALLS)
        self._asked: dict[str, _Asked] = {}

    async def claim(self, session_id: str, takeover: Callable[[], bool]) -> None:
        """Hold a session, even one that has a client elsewhere if `takeover` says so at the time.

        NotFound, StoreFailed; HasClientElsewhere; Unavailable if its holder does not hand it over.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + min(_PATIENCE * self._leases.lease_s, _MOST_PATIENCE_S)
        while True:
            holder = await self.try_to_claim(session_id)
            if holder is None:
                return
            if loop.time() >= give_up_s:
                raise Unavailable(
                    "another daemon holds this session and does not hand it over; try again"
                )
            answer = await self._ask(holder, session_id, takeover=takeover())
            if answer is LeaseMessageKind.KEPT and not takeover():
                raise HasClientElsewhere(HAS_A_CLIENT)

    @property
    def lapses(self) -> int:
        """How often this daemon's lease had run out; claims of before may be others' now."""
        return self._lease.lapses

    async def try_to_claim(self, session_id: str) -> Holder | None:
        """Hold a session, or return the living daemon that does; NotFound, StoreFailed."""
        claim = partial(self._leases.claim, session_id)
        async with self._calls:
            return await in_own_thread("claim a session", claim)

    async def send(self, daemon_id: str, message: LeaseMessage) -> None:
        """Send a message to a daemon, which may have died; StoreFailed."""
        send = partial(self._leases.send, daemon_id, message)
        async with self._calls:
            await in_own_thread("send to another daemon", send)

    async def _ask(
        self, holder: Holder, session_id: str, *, takeover: bool
    ) -> LeaseMessageKind | None:
        """Ask for a session; return the answer, or None if there is none for a while."""
        kind = LeaseMessageKind.HAND_OVER
        message = LeaseMessage(kind, session_id, self._leases.daemon_id, takeover)
        asked = _Asked(holder, asyncio.get_running_loop().create_future())
        self._asked[session_id] = asked
        try:
            await self.send(holder.daemon_id, message)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._leases.lease_s * _AGAIN):
                    return await asked.answer
        finally:
            del self._asked[session_id]
        return None

    def hear(self, message: LeaseMessage) -> None:
        """Hear what became of a session that was asked for."""
        asked = self._asked.get(message.session_id)
        if asked is None or asked.answer.done():
            return
        if message.sender == asked.holder.daemon_id:  # others were asked before it
            asked.answer.set_result(message.kind)
