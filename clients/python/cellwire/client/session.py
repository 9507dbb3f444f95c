"""A session: one text, one recurrent state in the daemon, one stream to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from cellwire.client.errors import CellwireError, NotFound
from cellwire.client.exchange import Exchange, Writing, expect
from cellwire.client.generation import Generation
from cellwire.client.model import Model
from cellwire.client.options import CompleteOptions, GenerateOptions
from cellwire.client.requests import (
    Operation,
    append_message,
    complete_message,
    generate_message,
    rewind_message,
    score_message,
)
from cellwire.client.stream import Stream
from cellwire.client.values import (
    Answer,
    Appended,
    Attached,
    Classified,
    Closed,
    Completed,
    Completing,
    Forked,
    Opened,
    Rewound,
    Scored,
)
from cellwire.v1.operations_pb2 import Accept, Attach, Classify, Close, Fork, Open

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub

_Answer = TypeVar("_Answer", bound=Answer)


class Session:
    """A text that the caller and the model write together.

    An async context manager, made by `Client.session` or `Client.attach`: entering opens the
    session or takes it up, leaving deletes it, unless it has been detached. An error that leaves
    the block breaks the connection instead, and the session does as its on_disconnect says.

    Operations run in the order they are called. One that fails raises its CellwireError and leaves
    the session as it was; one whose task is cancelled is cancelled in the daemon too. Aborted and
    Unavailable mean that the session is lost to this client; where the daemon has kept it,
    `Client.attach(session.id, offset=session.offset)` goes on from what was read.

    Offsets and counts are in symbols of the model's vocabulary, from the session's start.
    """

    def __init__(
        self,
        stub: GenerationServiceAsyncStub,
        message: Open | Attach,
    ) -> None:
        self._stub = stub
        self._message = message

    async def __aenter__(self) -> Self:
        self._stream = Stream(self._stub.Session())
        try:
            if isinstance(self._message, Open):
                await self._open(self._message)
            else:
                await self._attach(self._message)
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
        """Delete the session, cancelling what still runs; after an error, break off at once."""
        try:
            if error is None:
                self._stream.abandon_all()
                # A session that is already lost is as closed as it can be.
                with suppress(CellwireError):
                    await self._answer(Closed, Close())
                await self._stream.ended()
        finally:
            await self._stream.aclose()

    @property
    def id(self) -> str:
        """The session's name: 128 random bits in hexadecimal. Who knows it can attach to it."""
        return self._begun.session_id

    @property
    def model(self) -> Model:
        """The model it runs on."""
        return self._begun.model

    @property
    def seed(self) -> int:
        """The seed in use: with it, the same operations give the same text again."""
        return self._begun.seed

    @property
    def offset(self) -> int:
        """Where the text ends, as far as it has been read here."""
        return self._stream.offset

    @property
    def missed(self) -> str:
        """The text between the offset that was attached with and the session's end then."""
        return self._begun.missed if isinstance(self._begun, Attached) else ""

    @property
    def running(self) -> tuple[int, ...]:
        """What ran or waited when this session was attached to, for `resume`."""
        return tuple(self._stream.left)

    async def append(self, text: str | bytes) -> Appended:
        """Add text, as if the model had written it: 1 to 1,000,000 characters.

        Bytes are for models that read bytes, and need not be whole characters. Completions that
        are being searched for are superseded.

        Raises InvalidArgument if the model does not know one of its symbols, and adds nothing.
        """
        return await self._answer(Appended, append_message(text))

    def generate(
        self, *, seed: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """Let the model go on; what it writes joins the session. See GenerateOptions.

        With a seed of its own it draws from that, and else from the session's. Completions that
        are being searched for are superseded.

        Reading it raises InvalidArgument for a value out of range and FailedPrecondition if the
        session has no text.
        """
        message = generate_message(seed=seed, **options)
        return Generation(Writing(self._exchange(message)))

    def resume(self, operation_id: int) -> Generation:
        """Return the rest of a generation that ran or waited when this session was attached to.

        What is not resumed before the session's next operation goes on all the same, but its text
        goes by unread. Raises NotFound if there is nothing under that id to resume; reading it
        raises FailedPrecondition if it is no generation.
        """
        inbox = self._stream.left.pop(operation_id, None)
        if inbox is None:
            raise NotFound(f"no operation {operation_id} is left to resume")
        exchange = Exchange(self._stream, lambda: inbox)
        exchange.start()
        return Generation(Writing(exchange))

    async def complete(self, **options: Unpack[CompleteOptions]) -> Completed:
        """Search for the likeliest continuations; the session does not move. See CompleteOptions.

        Raises Superseded if the session is asked to move on meanwhile, by another task: an error
        and no value, for there is no result, and whoever waits for one has to know. Raises
        FailedPrecondition if the session has no text, ResourceExhausted if there is no room.
        """
        return await self._answer(Completed, complete_message(**options))

    async def completing(
        self, **options: Unpack[CompleteOptions]
    ) -> AsyncGenerator[Completed, None]:
        """Iterate over the best continuations so far, each time they change; the last are final.

        A slow reader gets the newest and skips the others; leaving the loop cancels the search.
        Takes and raises what `complete` does.
        """
        exchange = self._exchange(complete_message(**options, partial_results=True))
        try:
            while isinstance(answer := await exchange.read(), Completing):
                yield answer.best
            yield expect(Completed, answer)
        finally:
            exchange.abandon()

    async def accept(self, index: int = 0, *, chars: int | None = None) -> Appended:
        """Add a completion, or its first characters, exactly as if it were appended.

        index counts from 0 in the result of the last complete. Raises FailedPrecondition if the
        session has moved since then, NotFound if there is no such completion.
        """
        if chars == 0:
            raise ValueError("to accept nothing, do nothing")
        return await self._answer(Appended, Accept(index=index, chars=chars or 0))

    async def rewind(self, chars: int | None = None, *, to: int | None = None) -> Rewound:
        """Go back by so many characters, or to an offset, as if nothing after it had been.

        Raises OutOfRange beyond the session's rewind_window or its start; the message says how far
        back it can go.
        """
        return await self._answer(Rewound, rewind_message(chars, to))

    async def fork(self, *, seed: int | None = None) -> Forked:
        """Make a session that begins as a copy of this one, with nobody attached to it.

            async with daemon.attach(await session.fork()) as other: ...

        Without a seed the daemon chooses one. Raises ResourceExhausted if there is no room.
        """
        return await self._answer(Forked, Fork(seed=seed))

    async def score(self, text: str | bytes, *, log_probabilities: bool = False) -> Scored:
        """Say how likely a text is as the continuation; the session does not move.

        Raises InvalidArgument if the model does not know one of its symbols.
        """
        return await self._answer(Scored, score_message(text, log_probabilities=log_probabilities))

    async def classify(self) -> Classified:
        """Say what the model makes of the text so far; the session does not move.

        Raises FailedPrecondition if the model has no labels or the session no text.
        """
        return await self._answer(Classified, Classify())

    async def detach(self) -> None:
        """Let go of the session, after the operations before this one, and keep it in the daemon.

        It can be attached to until its idle_timeout_s is over.
        """
        await self._answer(Closed, Close(keep=True))
        await self._stream.ended()

    async def _open(self, message: Open) -> None:
        self._begun: Opened | Attached = await self._answer(Opened, message)

    async def _attach(self, message: Attach) -> None:
        self._begun = await self._answer(Attached, message)
        self._stream.offset = self._begun.offset

    def _exchange(self, operation: Operation) -> Exchange:
        return Exchange(self._stream, lambda: self._stream.ask(operation))

    async def _answer(self, expected: type[_Answer], operation: Operation) -> _Answer:
        return await self._exchange(operation).answer(expected)
