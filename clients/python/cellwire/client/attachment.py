"""Entering a session and leaving it, and what is known of it meanwhile."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from cellwire.client.durable.beginning import Beginning, Begun
from cellwire.client.errors import CellwireError, FailedPrecondition
from cellwire.client.model import Model
from cellwire.client.values import Attached, Closed, FinalAnswer, Opened, SafePoint
from cellwire.client.wire.exchange import Exchange, SessionStream
from cellwire.client.wire.own_process import OwnProcess
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import Close

_Answer = TypeVar("_Answer", bound=FinalAnswer)


class Attachment:
    """A stream to a session, from `async with` to its end."""

    def __init__(self, beginning: Beginning) -> None:
        self._process = OwnProcess()
        self._beginning = beginning
        self._begun: Begun | None = None

    async def __aenter__(self) -> Self:
        self._process.check()
        if self._begun is not None and not self._stream.over:
            raise FailedPrecondition("the session is open already; enter it once")
        self._begun = await self._beginning.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel what still runs and delete the session; after an error, break the connection."""
        try:
            if error is None and not self._process.left:
                self._stream.abandon_all()
                # A session that is lost needs no close.
                with suppress(CellwireError):
                    await self._close()
        finally:
            await self._stream.aclose()

    @property
    def id(self) -> str:
        """The session's id: 128 random bits in hexadecimal. It is all that is needed to attach."""
        return self._start.session_id

    @property
    def model(self) -> Model:
        """Its model, without the vocabulary's symbols."""
        return self._start.model

    @property
    def seed(self) -> int:
        """Its seed: with it, the same operations give the same text again."""
        return self._start.seed

    @property
    def offset(self) -> int:
        """Where the text that has been read here ends."""
        return self._stream.offset

    @property
    def safe(self) -> SafePoint | None:
        """Of a durable session, how much of it is safe, as far as was heard; None if nothing is."""
        return self._stream.safe

    @property
    def missed(self) -> str:
        """The text between the offset that was attached with and the session's end at that time."""
        return self._start.missed if isinstance(self._start, Attached) else ""

    @property
    def running(self) -> tuple[int, ...]:
        """The operations that were running or waiting at attach, for `resume`."""
        return tuple(self._stream.resumable)

    async def detach(self) -> None:
        """Detach from the session, after the operations before this one; the daemon keeps it.

        A client can attach to it until its idle timeout.
        """
        await self._close(keep=True)

    @property
    def _entered(self) -> Begun:
        if self._begun is None:
            raise FailedPrecondition(
                "the session is not open: enter it, as in `async with daemon.session() as session:`"
            )
        return self._begun

    @property
    def _start(self) -> Opened | Attached:
        return self._entered.start

    @property
    def _stream(self) -> SessionStream:
        return self._entered.stream

    def _exchange(self, operation: Operation) -> Exchange:
        return Exchange(self._stream, lambda: self._stream.send(operation))

    async def _answer(self, expected: type[_Answer], operation: Operation) -> _Answer:
        return await self._exchange(operation).answer(expected)

    async def _close(self, *, keep: bool = False) -> None:
        await self._answer(Closed, Close(keep=keep))
        await self._stream.ended()
