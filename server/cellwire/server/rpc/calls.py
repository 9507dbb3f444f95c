"""The calls that are under way: counted, bounded, and cut when the daemon stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from cellwire.server.errors import ResourceExhausted

MAX_RECEIVING = 16
"""How many requests of one connection are received at a time: each may have 16 MiB."""


class Calls:
    """The tasks that serve calls. Used in the event loop only."""

    def __init__(self, most: int) -> None:
        self.were_cut = False
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self._places: dict[str, asyncio.Semaphore] = {}  # by connection
        self._users = Counter[str]()  # of those places

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count the call that the current task serves; ResourceExhausted if there are too many."""
        if len(self._tasks) >= self._most:
            raise ResourceExhausted(
                f"{len(self._tasks):,} calls are under way, and {self._most:,} are the most; "
                "wait for some to end, then try again"
            )
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    @asynccontextmanager
    async def receiving(self, connection: str) -> AsyncIterator[None]:
        """Wait for one of the connection's places to receive a request.

        gRPC holds a request in memory from its first byte on. Those of other connections do not
        wait, however slowly this one sends.
        """
        places = self._places.setdefault(connection, asyncio.Semaphore(MAX_RECEIVING))
        self._users[connection] += 1
        try:
            async with places:
                yield
        finally:
            self._users[connection] -= 1
            if not self._users[connection]:
                del self._users[connection], self._places[connection]

    async def end(self, within_s: float) -> None:
        """Let calls come to their ends, then cut those that are left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        self.were_cut = True
        for task in self._tasks:
            task.cancel()
