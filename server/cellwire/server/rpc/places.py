"""Places for what takes much memory: a few for each connection, so that no other one waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """A number of places for each connection. Used in the event loop only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, asyncio.Semaphore] = {}  # by connection
        self._users = Counter[str]()  # likewise: those that have a place or wait for one

    def __len__(self) -> int:
        """Return the number of connections that have or want places."""
        return len(self._places)

    @asynccontextmanager
    async def taken(self, connection: str) -> AsyncIterator[None]:
        """Wait for one of the connection's places, and hold it."""
        places = self._places.setdefault(connection, asyncio.Semaphore(self._most))
        self._users[connection] += 1
        try:
            async with places:
                yield
        finally:
            self._users[connection] -= 1
            if not self._users[connection]:
                del self._users[connection], self._places[connection]
