"""One operation of a session and its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from cellwire.client.errors import Cancelled, FailedPrecondition, Internal, Superseded
from cellwire.client.values import (
    FinalAnswer,
    Finished,
    FinishReason,
    PartialAnswer,
    Piece,
    SafePoint,
)
from cellwire.client.wire.inbox import Inbox
from cellwire.client.wire.requests import Operation

_Expected = TypeVar("_Expected", bound=PartialAnswer | FinalAnswer)


class SessionStream(Protocol):
    """What carries the operations of a session to the daemon, and their answers back."""

    offset: int
    """Where the text that has been read here ends."""
    resumable: dict[int, Inbox]
    """The operations that were under way at attach and have no reader yet."""

    @property
    def safe(self) -> SafePoint | None:
        """How much of the session is safe."""

    @property
    def over(self) -> bool:
        """Whether it has ended: no operation can be sent on it."""

    def send(self, operation: Operation) -> Inbox:
        """Send an operation after those before it, and return the inbox for its answers."""

    async def take(self, inbox: Inbox) -> PartialAnswer | FinalAnswer:
        """Return the next answer; raises the CellwireError that the operation ended with."""

    def cancel(self, inbox: Inbox) -> None:
        """Ask the daemon to end an operation; its answers until then still arrive."""

    def abandon_all(self) -> None:
        """Cancel all operations that are running or waiting, and drop their answers."""

    async def ended(self) -> None:
        """Wait until the daemon has ended it."""

    async def aclose(self) -> None:
        """End it now; operations that have not ended fail with Cancelled."""


class Exchange:
    """An operation that is sent when it is started or first read."""

    def __init__(self, stream: SessionStream, send: Callable[[], Inbox]) -> None:
        self._stream = stream
        self._send = send
        self._inbox: Inbox | None = None
        self._cancelled = False

    def start(self) -> Inbox:
        """Send the operation, unless that has been done."""
        if self._inbox is None:
            self._inbox = self._send()
            if self._cancelled:
                self._stream.cancel(self._inbox)
        return self._inbox

    async def read(self) -> PartialAnswer | FinalAnswer:
        """Return the next answer; raises the CellwireError that the operation ended with."""
        return await self._stream.take(self.start())

    async def answer(self, expected: type[_Expected]) -> _Expected:
        """Return the only answer. If the waiting task is cancelled, so is the operation."""
        try:
            return expect(expected, await self.read())
        finally:
            self.abandon()

    def cancel(self) -> None:
        """Ask the daemon to end the operation; the answers until then can still be read."""
        if self._inbox is not None and not self._cancelled:
            self._stream.cancel(self._inbox)
        self._cancelled = True

    def abandon(self) -> None:
        """Cancel the operation if it has not ended, and drop its unread answers."""
        self.cancel()
        if self._inbox is not None:
            self._inbox.discard()


class ExchangeSource:
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
        raise FailedPrecondition("the operation is not a generation")


def expect(expected: type[_Expected], answer: PartialAnswer | FinalAnswer) -> _Expected:
    """Return the answer if it is of the expected kind; else raise the error that it means."""
    if isinstance(answer, expected):
        return answer
    if isinstance(answer, Finished):
        if answer.reason is FinishReason.SUPERSEDED:
            raise Superseded("a later operation changes the session's text")
        raise Cancelled("the operation was cancelled")
    raise Internal(f"the daemon answered with {type(answer).__name__}, not {expected.__name__}")
