"""The answers to one operation, between the stream and the operation's reader."""

from __future__ import annotations

import asyncio
from collections import deque

from cellwire.client.errors import CellwireError
from cellwire.client.values import Completing, FinalAnswer, PartialAnswer, Piece

MAX_WAITING_CHARACTERS = 4096
"""How many characters wait for a slow reader before the stream is left unread."""


class Inbox:
    """Partial answers in order, then one final answer or an error.

    One task puts, one task takes. `put` waits while MAX_WAITING_CHARACTERS or more are waiting; the
    task that reads the stream then reads no further, and gRPC's flow control pauses the daemon. It
    no longer waits once `take_rest` was called. Of the partial results of a search only the newest
    is kept.
    """

    def __init__(self, operation_id: int) -> None:
        self.operation_id = operation_id
        self._partial: deque[PartialAnswer] = deque()
        self._waiting_characters = 0
        self._final: FinalAnswer | CellwireError | None = None
        self._discarding = False
        self._takes_rest = False
        self._room = asyncio.Event()
        self._room.set()
        self._arrival = asyncio.Event()

    @property
    def waiting_characters(self) -> int:
        """How many characters are waiting to be taken."""
        return self._waiting_characters

    @property
    def ended(self) -> bool:
        """Whether the final answer has arrived."""
        return self._final is not None

    async def put(self, answer: PartialAnswer) -> None:
        """Add a partial answer as soon as there is room."""
        await self._room.wait()
        self.add(answer)

    async def room(self) -> None:
        """Wait until there is room."""
        await self._room.wait()

    def add(self, answer: PartialAnswer) -> None:
        """Add a partial answer, however much is waiting."""
        if self._discarding:
            return
        if isinstance(answer, Completing):
            self._partial.clear()
        self._partial.append(answer)
        self._count(answer, 1)
        self._arrival.set()

    def end(self, final: FinalAnswer | CellwireError) -> None:
        """Set what follows the partial answers."""
        self._final = final
        self._arrival.set()

    def take_rest(self) -> None:
        """Take everything that is still to arrive, however slowly it is read."""
        self._takes_rest = True
        self._room.set()

    def discard(self) -> None:
        """Drop all partial answers, those that are waiting and those still to arrive."""
        self._discarding = True
        self._partial.clear()
        self._waiting_characters = 0
        self._room.set()

    async def take(self) -> PartialAnswer | FinalAnswer:
        """Return the next partial answer; after them the final answer, however often called.

        Raises the CellwireError that the operation ended with.
        """
        while not self._partial:
            if isinstance(self._final, CellwireError):
                raise self._final
            if self._final is not None:
                return self._final
            self._arrival.clear()
            await self._arrival.wait()
        answer = self._partial.popleft()
        self._count(answer, -1)
        return answer

    def _count(self, answer: PartialAnswer, sign: int) -> None:
        if isinstance(answer, Piece):
            self._waiting_characters += sign * len(answer.text)
        if self._takes_rest or self._waiting_characters < MAX_WAITING_CHARACTERS:
            self._room.set()
        else:
            self._room.clear()
