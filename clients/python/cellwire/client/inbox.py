"""The answers to one operation, on their way from the stream to whoever asked."""

from __future__ import annotations

import asyncio
from collections import deque

from cellwire.client.errors import CellwireError
from cellwire.client.values import Answer, Piece

ROOM_CHARS = 4096
"""How many characters wait for a slow reader before the stream is left unread."""


class Inbox:
    """Pieces of text in order, then one last answer or an error.

    One task puts, one task takes. `put` waits while ROOM_CHARS characters or more are waiting; the
    task that reads the stream then reads no further, and gRPC's flow control pauses the daemon.
    """

    def __init__(self, operation_id: int) -> None:
        self.operation_id = operation_id
        self._pieces: deque[Piece] = deque()
        self._waiting_chars = 0
        self._last: Answer | CellwireError | None = None
        self._discarding = False
        self._room = asyncio.Event()
        self._room.set()
        self._news = asyncio.Event()

    @property
    def waiting_chars(self) -> int:
        """How many characters wait to be taken."""
        return self._waiting_chars

    @property
    def ended(self) -> bool:
        """Whether the last answer has come."""
        return self._last is not None

    async def put(self, piece: Piece) -> None:
        """Add a piece as soon as there is room."""
        await self._room.wait()
        if self._discarding:
            return
        self._pieces.append(piece)
        self._waiting_chars += len(piece.text)
        if self._waiting_chars >= ROOM_CHARS:
            self._room.clear()
        self._news.set()

    def end(self, last: Answer | CellwireError) -> None:
        """Add what comes after the pieces."""
        self._last = last
        self._news.set()

    def discard(self) -> None:
        """Throw away the pieces that wait and those still to come."""
        self._discarding = True
        self._pieces.clear()
        self._waiting_chars = 0
        self._room.set()

    async def take(self) -> Piece | Answer:
        """Return the next piece, or the last answer after them, again and again.

        Raises the CellwireError the operation ended with.
        """
        while not self._pieces:
            if isinstance(self._last, CellwireError):
                raise self._last
            if self._last is not None:
                return self._last
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft()
        self._waiting_chars -= len(piece.text)
        if self._waiting_chars < ROOM_CHARS:
            self._room.set()
        return piece
