"""What is done with sessions that are not in the process: one thing at a time with each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from cellwire.server.host.stored_sessions import StoredSessions


class Turns:
    """Lets a session wake, be deleted or be released, but not two of these at the same time.

    What was begun goes on without its callers. Used in the event loop only.
    """

    def __init__(self, stored: StoredSessions) -> None:
        self._stored = stored
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def of(self, session_id: str) -> asyncio.Task[None] | None:
        """Return what is being done with a session."""
        return self._tasks.get(session_id)

    def begin(self, session_id: str, act: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin to do something with a session with which nothing is being done."""
        task = self._tasks[session_id] = asyncio.create_task(self._do(session_id, act))
        task.add_done_callback(_take_error)
        return task

    async def _do(self, session_id: str, act: Awaitable[None]) -> None:
        # A task that has ended must not be found: to wait for it would not let the loop go on.
        try:
            await act
        finally:
            del self._tasks[session_id]

    async def when_away(
        self, session_id: str, act: Callable[[], Coroutine[None, None, None]]
    ) -> bool:
        """Do something with a session when it is not in the process; False if it stays there."""
        while True:
            session = self._stored.find(session_id)
            busy = self.of(session_id) or (session.left if session is not None else None)
            if busy is not None:
                await asyncio.wait([busy])
            elif session is not None:
                return False
            else:
                await asyncio.shield(self.begin(session_id, act()))
                return True

    async def end(self) -> None:
        """Break off all that is being done: the daemon ends."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _take_error(task: asyncio.Task[None]) -> None:
    """Let nobody be told of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
