"""The answers to one operation, on their way from the stream to whoever asked."""

from __future__ import annotations

import asyncio
from collections import deque

from cellwire.client.errors import CellwireError
from cellwire.client.values import Answer, Completing, News, Piece

ROOM_CHARS = 4096
"""How many characters wait for a slow reader before the stream is left unread."""


class Inbox:
    """News in order, then one last answer or an error.

    One task puts, one task takes. `put` waits while ROOM_CHARS characters or more are waiting; the
    task that reads the stream then reads no further, and gRPC's flow control pauses the daemon.
    Of a search's results so far only the newest waits: who reads slowly has no use for the others.
    """

    def __init__(self, operation_id: int) -> None:
        self.operation_id = operation_id
        self._news: deque[News] = deque()
        self._waiting_chars = 0
        self._last: Answer | CellwireError | None = None
        self._discarding = False
        self._room = asyncio.Event()
        self._room.set()
        self._arrival = asyncio.Event()

    @property
    def waiting_chars(self) -> int:
        """How many characters wait to be taken."""
        return self._waiting_chars

    @property
    def ended(self) -> bool:
        """Whether the last answer has come."""
        return self._last is not None

    async def put(self, news: News) -> None:
        """Add news as soon as there is room."""
        await self._room.wait()
        if self._discarding:
            return
        if isinstance(news, Completing):
            self._news.clear()
        self._news.append(news)
        self._count(news, 1)
        self._arrival.set()

    def end(self, last: Answer | CellwireError) -> None:
        """Add what comes after the news."""
        self._last = last
        self._arrival.set()

    def discard(self) -> None:
        """Throw away the news that wait and those still to come."""
        self._discarding = True
        self._news.clear()
        self._waiting_chars = 0
        self._room.set()

    async def take(self) -> News | Answer:
        """Return the next of the news, or the last answer after them, again and again.

        Raises the CellwireError the operation ended with.
        """
        while not self._news:
            if isinstance(self._last, CellwireError):
                raise self._last
            if self._last is not None:
                return self._last
            self._arrival.clear()
            await self._arrival.wait()
        news = self._news.popleft()
        self._count(news, -1)
        return news

    def _count(self, news: News, sign: int) -> None:
        if isinstance(news, Piece):
            self._waiting_chars += sign * len(news.text)
        if self._waiting_chars < ROOM_CHARS:
            self._room.set()
        else:
            self._room.clear()
