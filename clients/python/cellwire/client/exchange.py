"""One operation of a session and what the daemon answers to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cellwire.client.errors import Cancelled, FailedPrecondition, Internal, Superseded
from cellwire.client.inbox import Inbox
from cellwire.client.stream import Stream
from cellwire.client.values import Answer, Finished, FinishReason, News, Piece

_Expected = TypeVar("_Expected", bound=News | Answer)


class Exchange:
    """An operation that is asked for when it is started or first read."""

    def __init__(self, stream: Stream, ask: Callable[[], Inbox]) -> None:
        self._stream = stream
        self._ask = ask
        self._inbox: Inbox | None = None
        self._cancelled = False

    def start(self) -> Inbox:
        """Ask, unless that has been done."""
        if self._inbox is None:
            self._inbox = self._ask()
            if self._cancelled:
                self._stream.cancel(self._inbox)
        return self._inbox

    async def read(self) -> News | Answer:
        """Return what comes next; raises the CellwireError the operation ended with."""
        return await self._stream.take(self.start())

    async def answer(self, expected: type[_Expected]) -> _Expected:
        """Return the only answer; who is cancelled while waiting cancels the operation."""
        try:
            return expect(expected, await self.read())
        finally:
            self.abandon()

    def cancel(self) -> None:
        """Ask the daemon to end it; what it still answers can be read."""
        if self._inbox is not None and not self._cancelled:
            self._stream.cancel(self._inbox)
        self._cancelled = True

    def abandon(self) -> None:
        """Cancel it if it has not ended, and throw away what has not been read."""
        self.cancel()
        if self._inbox is not None:
            self._inbox.discard()


class Writing:
    """An exchange as the source of a generation."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.cancel = exchange.cancel
        self.abandon = exchange.abandon

    async def read(self) -> Piece | Finished:
        """Return the next piece, or the end."""
        answer = await self._exchange.read()
        if isinstance(answer, Piece | Finished):
            return answer
        raise FailedPrecondition("the operation is no generation")


def expect(expected: type[_Expected], answer: News | Answer) -> _Expected:
    """Return the answer if it is of the expected kind; else raise what it means."""
    if isinstance(answer, expected):
        return answer
    if isinstance(answer, Finished):
        if answer.reason is FinishReason.SUPERSEDED:
            raise Superseded("the session was asked to move on")
        raise Cancelled("the operation was cancelled")
    raise Internal(f"the daemon answered with {type(answer).__name__}, not {expected.__name__}")
