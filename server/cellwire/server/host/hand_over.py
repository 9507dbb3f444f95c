"""How this daemon gives sessions to the daemons that ask for them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from cellwire.server.errors import CellwireError, NotFound
from cellwire.server.host.claiming import Claiming
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.session_handle import taken_over
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.turns import Turns
from cellwire.server.store.leases import LeaseMessage, LeaseMessageKind, Leases

_log = logging.getLogger(__name__)


class HandOver:
    """Lets sessions leave for others, unless they have a client here; used in the event loop only.

    However often a session is asked for meanwhile, it is let go once, and each asker is told once.
    """

    def __init__(
        self, stored: StoredSessions, leases: Leases, turns: Turns, claiming: Claiming
    ) -> None:
        self._stored = stored
        self._leases = leases
        self._turns = turns
        self._claiming = claiming
        self._askers: dict[str, dict[str, bool]] = {}  # by session: who takes it over
        self._tasks = set[asyncio.Task[None]]()

    def hear(self, message: LeaseMessage) -> None:
        """Hear that another daemon asks for a session."""
        session_id = message.session_id
        begun = session_id in self._askers
        askers = self._askers.setdefault(session_id, {})
        askers[message.sender] = message.takeover or askers.get(message.sender, False)
        if not begun:
            task = asyncio.create_task(self._give(session_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Answer nobody any more: the daemon ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _give(self, session_id: str) -> None:
        try:
            given = await self._let_go(session_id)
        except CellwireError as error:  # who asks will ask again
            _log.warning("cannot hand over the session %s: %s", session_id, error)
            return
        finally:
            askers = self._askers.pop(session_id)
        kind = LeaseMessageKind.HANDED_OVER if given else LeaseMessageKind.KEPT
        message = LeaseMessage(kind, session_id, self._leases.daemon_id)
        try:
            for asker in askers:
                await self._claiming.send(asker, message)
        except CellwireError as error:
            _log.warning("cannot tell of the session %s: %s", session_id, error)

    async def _let_go(self, session_id: str) -> bool:
        """Hold a session no longer; False if it stays."""
        left = False
        while (session := self._stored.find(session_id)) is not None or not left:
            if session is None:
                if await self._turns.when_away(session_id, partial(self._release, session_id)):
                    return True
            elif not session.record.exists:  # it is being deleted
                break
            elif await self._let_leave(session):
                left = True
            else:
                return False
        await self._stored.settled(session_id)
        return True

    async def _let_leave(self, session: DurableSession) -> bool:
        """Let a session of this process leave; False if it stays."""
        await self._stored.residents.reached(session.id)
        if session.left is not None:
            await asyncio.wait([session.left])
            return True
        if any(self._askers[session.id].values()):
            session.leave(taken_over())
            return True
        return session.attachment is None and await self._stored.residents.let_leave(session)

    async def _release(self, session_id: str) -> None:
        """Release a session that is not in the process, if this daemon holds it even so."""
        await self._stored.settled(session_id)
        try:
            holder = await self._claiming.try_to_claim(session_id)
        except NotFound:
            return
        if holder is None:
            self._stored.release(session_id)
            await self._stored.settled(session_id)
