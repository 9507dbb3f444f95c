"""Which durable sessions stay in the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cellwire.server.engine import commands
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import CellwireError
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.settings import OnDisconnect

_ARRIVAL_S = 1.0  # the most that a caller is waited for


class Residents:
    """Lets the sessions that have been without a client for longest leave, if there are too many.

    A session stays while one of its operations runs. Sessions that pause forget theirs: so they
    would at a restart, and their clients send them again.
    """

    def __init__(self, most: int, may_leave: Callable[[], bool]) -> None:
        """`may_leave` says whether sessions could come back: the store works."""
        self._most = most
        self._may_leave = may_leave
        self._all: set[DurableSession] = set()
        self._detached: dict[DurableSession, None] = {}  # longest first
        self._shrinking: asyncio.Task[None] | None = None
        self._kept = Counter[str]()
        self._reached: dict[str, asyncio.Future[None]] = {}

    @contextmanager
    def kept(self, session_id: str) -> Iterator[None]:
        """Let a session stay in this context: a caller is on its way to it."""
        self._kept[session_id] += 1
        try:
            yield
        finally:
            self._kept[session_id] -= 1
            if not self._kept[session_id]:
                del self._kept[session_id]
                if session_id in self._reached:
                    self._reached.pop(session_id).set_result(None)

    async def reached(self, session_id: str) -> None:
        """Wait a moment for the callers that are on their way to a session to reach it."""
        if session_id not in self._kept:
            return
        if session_id not in self._reached:
            self._reached[session_id] = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._reached[session_id]], timeout=_ARRIVAL_S)

    def __len__(self) -> int:
        return len(self._all)

    def update(self, session: DurableSession) -> None:
        """Note whether a session has a client; too many let others leave."""
        self._all.add(session)
        self._detached.pop(session, None)
        if session.attachment is None and not session.leaving:
            self._detached[session] = None
        self.shrink_soon()

    def drop(self, session: DurableSession) -> None:
        """Know a session no longer."""
        self._all.discard(session)
        self._detached.pop(session, None)

    def shrink_soon(self) -> None:
        """Let sessions leave until no more than the most are left, if so many can."""
        busy = self._shrinking is not None and not self._shrinking.done()
        if not busy and self._longest_detached(but=set()):
            self._shrinking = asyncio.create_task(self._shrink())

    async def shrunk(self) -> None:
        """Wait until those have left that are to leave now."""
        if self._shrinking is not None:
            await self._shrinking

    async def _shrink(self) -> None:
        tried = set[DurableSession]()
        while leaving := self._longest_detached(but=tried):
            tried.update(leaving)
            await asyncio.gather(*map(self.let_leave, leaving))

    def _longest_detached(self, but: set[DurableSession]) -> list[DurableSession]:
        excess = max(0, len(self._all) - self._most) if self._may_leave() else 0
        may_leave = (s for s in self._detached if not s.leaving and s.id not in self._kept)
        return [session for session in may_leave if session not in but][:excess]

    async def let_leave(self, session: DurableSession) -> bool:
        """Let a session without a client leave; False if it stays, for it is at work."""
        self._detached.pop(session, None)
        session.begin_to_leave()

        def close_if_idle(engine: Engine) -> bool:
            busy = bool(engine.describe(session.id).operation_ids)
            if busy and session.settings.on_disconnect is not OnDisconnect.PAUSE:
                return False
            engine.handle(commands.CloseSession(session.id))
            return True

        try:
            left = await call_engine(session.model, close_if_idle)
        except CellwireError:  # its engine has closed it, or ends: it leaves in any case
            return True
        if left and session.left is not None:
            await session.left
        else:
            session.stay()
            self.update(session)
        return left
