"""A session: one text, one recurrent state in the daemon, one stream to it."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from cellwire.client.errors import Cancelled, CellwireError, Internal
from cellwire.client.generation import Generation
from cellwire.client.inbox import Inbox
from cellwire.client.stream import Stream
from cellwire.client.values import Answer, Appended, Closed, Finished, Model, Opened, Piece
from cellwire.client.wire import generate_message
from cellwire.v1.operations_pb2 import Append, Close, Generate, Open

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub

_Expected = TypeVar("_Expected", Opened, Appended, Finished, Closed)


class Session:
    """A text that the caller and the model write together.

    An async context manager, made by `Client.session`: entering opens it, leaving closes it. Its
    operations run in the order they are called. One that fails raises its CellwireError and leaves
    the session as it was; one whose task is cancelled is cancelled in the daemon too. Unavailable
    means that the session is lost.
    """

    def __init__(self, stub: GenerationServiceAsyncStub, message: Open) -> None:
        self._stub = stub
        self._message = message

    async def __aenter__(self) -> Self:
        self._stream = Stream(self._stub.Session())
        try:
            self._opened = await self._ask(Opened, self._message)
        except BaseException:
            await self._stream.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session, cancelling what still runs; after an error, drop it at once."""
        try:
            if error is None:
                self._stream.abandon_all()
                # A session that is already lost is as closed as it can be.
                with suppress(CellwireError):
                    await self._ask(Closed, Close())
                await self._stream.ended()
        finally:
            await self._stream.aclose()

    @property
    def id(self) -> str:
        """The session's name: 128 random bits in hexadecimal."""
        return self._opened.session_id

    @property
    def model(self) -> Model:
        """The model it runs on."""
        return self._opened.model

    @property
    def seed(self) -> int:
        """The seed in use: with it, the same operations give the same text again."""
        return self._opened.seed

    async def append(self, text: str) -> Appended:
        """Add text, as if the model had written it: 1 to 1,000,000 characters.

        Raises InvalidArgument if the model does not know one of its symbols, and adds nothing.
        """
        return await self._ask(Appended, Append(text=text))

    def generate(
        self,
        *,
        max_chars: int,
        temperature: float = 1.0,
        top_k: int = 0,
        log_probabilities: bool = False,
    ) -> Generation:
        """Let the model go on for max_chars characters, 1 to 1,000,000; they join the session.

        temperature, 0 to 100, divides the logits; 0 always takes the likeliest symbol. top_k draws
        among that many likeliest symbols; 0 means all.

        Reading it raises InvalidArgument for a value out of range and FailedPrecondition if the
        session has no text.
        """
        message = generate_message(
            max_chars, temperature, top_k, log_probabilities=log_probabilities
        )
        return Generation(_SessionSource(self._stream, message))

    async def _ask(self, expected: type[_Expected], operation: Open | Append | Close) -> _Expected:
        inbox = self._stream.ask(operation)
        try:
            return _expect(expected, await inbox.take())
        finally:
            self._stream.abandon(inbox)


class _SessionSource:
    """A generation among the operations of a session."""

    def __init__(self, stream: Stream, message: Generate) -> None:
        self._stream = stream
        self._message = message
        self._inbox: Inbox | None = None
        self._cancelled = False

    async def read(self) -> Piece | Finished:
        if self._inbox is None:
            self._inbox = self._stream.ask(self._message)
            if self._cancelled:
                self._stream.cancel(self._inbox)
        answer = await self._inbox.take()
        return answer if isinstance(answer, Piece) else _expect(Finished, answer)

    def cancel(self) -> None:
        if self._inbox is not None and not self._cancelled:
            self._stream.cancel(self._inbox)
        self._cancelled = True

    def abandon(self) -> None:
        self.cancel()
        if self._inbox is not None:
            self._inbox.discard()


def _expect(expected: type[_Expected], answer: Piece | Answer) -> _Expected:
    if isinstance(answer, expected):
        return answer
    if isinstance(answer, Finished):
        raise Cancelled("the operation was cancelled")
    raise Internal(f"the daemon answered with {type(answer).__name__}, not {expected.__name__}")
