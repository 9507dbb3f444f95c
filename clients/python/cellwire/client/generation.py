"""A generation: text as the model generates it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from cellwire.client.values import Finished, Piece


class Source(Protocol):
    """The source of a generation's pieces: an operation of a session, or a call."""

    async def read(self) -> Piece | Finished:
        """Return the next piece, or the end; the first read starts the generation."""

    def cancel(self) -> None:
        """Ask the daemon to stop."""

    def abandon(self) -> None:
        """Stop, and drop what has not been read."""


class Generation:
    """Text as it arrives.

        async for text in session.generate(max_tokens=200):
            print(text, end="")

    The first read starts it, and it can be read once. Leaving the loop early (`break`, an
    exception, a cancelled task) cancels it; its session continues and keeps the text generated so
    far. To end it at a known place, hold it in `async with`.

    A generation that is read slowly pauses, with some thousand characters waiting in the client.
    Operations of a session run in order: once another one waits behind a generation, or it was
    cancelled, it pauses no more, and its text waits for its reader. Reading raises a CellwireError
    if the daemon rejects the generation or the connection is lost.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read = False
        self._finished: Finished | None = None

    @property
    def finished(self) -> Finished | None:
        """Why and where it ended; None until it has been read to its end."""
        return self._finished

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                yield piece.text

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Iterate over pieces, with offsets, log-probabilities and alternatives."""
        if self._read:
            raise RuntimeError("a generation can be read once")
        self._read = True
        try:
            while isinstance(answer := await self._source.read(), Piece):
                yield answer
            self._finished = answer
        finally:
            self._source.abandon()

    async def text(self) -> str:
        """Read it to its end and return the whole text."""
        return "".join([text async for text in self])

    def cancel(self) -> None:
        """Ask the daemon to stop.

        Returns at once, so a signal handler may call it. The reader still gets the text that was
        generated until then, and the end with reason CANCELLED.
        """
        self._source.cancel()

    async def aclose(self) -> None:
        """Cancel it if it is still running, and drop what has not been read."""
        self._source.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
