"""The ways to sessions that are only in the store, or at another daemon."""

from __future__ import annotations

from cellwire.server.host.sharing import Sharing
from cellwire.server.host.stored_deletion import StoredDeletion
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.turns import Turns
from cellwire.server.host.waking import Directory, Waking


class StoredAccess:
    """Brings stored sessions into the process, or deletes them, from whichever daemon has them."""

    def __init__(self, stored: StoredSessions, sessions: Directory) -> None:
        turns = Turns(stored)
        self._sharing = None
        if stored.leases is not None and stored.lease is not None:
            self._sharing = Sharing(stored, stored.leases, stored.lease, turns)
        claiming = self._sharing.claiming if self._sharing is not None else None
        self._stored = stored
        self.deletion = StoredDeletion(stored, turns, claiming)
        self._waking = Waking(stored, sessions, turns, claiming)
        self._turns = turns

    def start(self) -> None:
        """Hear other daemons from now on, if there may be some."""
        if self._sharing is not None:
            self._sharing.start()

    async def end(self) -> None:
        """Break off what is under way: the daemon ends."""
        await self._turns.end()
        if self._sharing is not None:
            await self._sharing.end()

    async def sure(self, session_id: str) -> None:
        """Wait until no other daemon can hold a session that is in the process; Unavailable."""
        if self._sharing is not None and self._stored.find(session_id) is not None:
            await self._sharing.sure()

    async def bring(self, session_id: str, *, takeover: bool = False) -> None:
        """Return when a session is in the process, and no other's; as `Waking.bring`."""
        await self.sure(session_id)
        await self._waking.bring(session_id, takeover=takeover)
