"""The deletion of sessions that are only in the store."""

from __future__ import annotations

from functools import partial

from cellwire.server.errors import DamagedRecord, NotFound
from cellwire.server.host.claiming import Claiming
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.turns import Turns


class StoredDeletion:
    """Deletes sessions that are not in the process. Of a shared store, it claims them first."""

    def __init__(
        self, stored: StoredSessions, turns: Turns, claiming: Claiming | None = None
    ) -> None:
        """Without `claiming`, no other daemon uses the store."""
        self._stored = stored
        self._turns = turns
        self._claiming = claiming

    async def delete(self, session_id: str) -> bool:
        """Delete a session; False if there is none, or it is in the process.

        A daemon that holds it lets its client go. Unavailable if it does not hand it over.
        """
        if not await self._stored.has(session_id):
            return False
        return await self._turns.when_away(session_id, partial(self._delete, session_id))

    async def _delete(self, session_id: str) -> None:
        await self._stored.settled(session_id)
        if self._claiming is not None:
            await self._claiming.claim(session_id, takeover=lambda: True)
        self._stored.delete(session_id)

    async def delete_expired(self, session_id: str) -> bool:
        """Delete a session that the store calls expired; False if it does not let itself."""
        if self._claiming is None:
            self._stored.delete(session_id)
            return True
        deleted = False

        async def claim_and_delete() -> None:
            nonlocal deleted
            deleted = await self._delete_if_expired(session_id)

        await self._turns.when_away(session_id, claim_and_delete)
        return deleted

    async def _delete_if_expired(self, session_id: str) -> bool:
        """Delete a session unless a living daemon holds it, or its expiry was put off meanwhile."""
        assert self._claiming is not None
        await self._stored.settled(session_id)
        try:
            if await self._claiming.try_to_claim(session_id) is not None:
                return False
            head = partial(self._stored.store.head, session_id)
            expires_s = (await in_own_thread("look at an expired session", head)).expires_s
        except NotFound:
            return False
        except DamagedRecord:
            expires_s = 0.0
        if self._stored.expired(expires_s):
            self._stored.delete(session_id)
            return True
        self._stored.release(session_id)
        return False
