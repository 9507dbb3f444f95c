"""The expiry of stored sessions, by the wall clock."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from cellwire.server.errors import CellwireError, Unavailable
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.stored_deletion import StoredDeletion
from cellwire.server.host.stored_sessions import StoredSessions

_log = logging.getLogger(__name__)

SWEEP_S = 60.0
_PAGE = 100  # sessions


class ExpirySweep:
    """Deletes the sessions whose time has run out, from time to time, and puts others off."""

    def __init__(self, stored: StoredSessions, deletion: StoredDeletion) -> None:
        self._stored = stored
        self._deletion = deletion
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep now, and from time to time."""
        self._task = asyncio.create_task(self._sweep_again_and_again())

    def stop(self) -> None:
        """Sweep no more."""
        if self._task is not None:
            self._task.cancel()

    async def sweep(self) -> None:
        """Put off the expiry of sessions with clients, and delete those that have expired.

        StoreFailed; Unavailable if the store does not answer. A session that the store refuses to
        delete is tried again in the next sweep.
        """
        now_s = self._stored.clock()
        for session in self._stored:
            due_s = now_s + session.settings.idle_timeout_s + SWEEP_S
            if session.attachment is not None and (session.expires_s or 0) < due_s:
                self._stored.keep_until(session)
        self._stored.residents.shrink_soon()
        kept = set[str]()  # that have expired, and stay for now
        while due := await self._expired(now_s, but=kept):
            kept.update([session_id for session_id in due if not await self._end(session_id)])
            for session_id in due:
                if session_id not in kept and not await self._is_gone(session_id):
                    kept.add(session_id)

    async def _expired(self, now_s: float, but: set[str]) -> list[str]:
        """Return some sessions that have expired, but for some: none if there are no others."""
        look = partial(self._stored.store.expired, now_s, _PAGE + len(but))
        found = await in_own_thread("look for expired sessions", look)
        return [session_id for session_id in found if session_id not in but]

    async def _is_gone(self, session_id: str) -> bool:
        """Wait for the deletion of a session; False if the store refuses it. Unavailable."""
        try:
            await self._stored.made_safe(session_id)
        except Unavailable:
            raise
        except CellwireError as error:
            _log.warning("cannot delete the expired session %s: %s", session_id, error)
            return False
        return True

    async def _end(self, session_id: str) -> bool:
        """Delete an expired session; False if it has a client, or is on its way out."""
        session = self._stored.find(session_id)
        if session is None:
            return await self._deletion.delete_expired(session_id)
        if session.expiry.running:
            session.end()
            return True
        return False

    async def _sweep_again_and_again(self) -> None:
        while True:
            try:
                await self.sweep()
            except CellwireError as error:
                _log.warning("cannot look for expired sessions: %s", error)
            await asyncio.sleep(SWEEP_S)
