"""How many operations a stream may have without their final answers."""

from __future__ import annotations

import asyncio


class AnswerWindow:
    """Counts the operations of one stream that have no final answer yet; at most `size`.

    A stream reads no further operation while the window is full, so gRPC's flow control holds its
    client back. One task may wait for room.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.unanswered = 0
        self._answered = asyncio.Event()

    async def enter(self) -> None:
        """Count an operation, as soon as there is room for it."""
        while self.unanswered >= self._size:
            self._answered.clear()
            await self._answered.wait()
        self.unanswered += 1

    def leave(self) -> None:
        """Count an operation no longer: it has its final answer.

        The answers to an earlier stream's operations, which this one never counted, change nothing
        while the window is empty.
        """
        self.unanswered = max(0, self.unanswered - 1)
        self._answered.set()
