"""A session: one text, one recurrent state in the daemon, one stream to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Unpack

from cellwire.client.attachment import Attachment
from cellwire.client.errors import NotFound
from cellwire.client.generation import Generation
from cellwire.client.options import CompleteOptions, GenerateOptions
from cellwire.client.values import (
    Appended,
    Checkpointed,
    Classified,
    Completed,
    Completing,
    Discarded,
    Forked,
    Restored,
    Rewound,
    SafePoint,
    Scored,
)
from cellwire.client.wire.exchange import Exchange, ExchangeSource, expect
from cellwire.client.wire.requests import (
    append_message,
    complete_message,
    generate_message,
    rewind_message,
    score_message,
)
from cellwire.client.wire.session_id import new_session_id
from cellwire.v1.operations_pb2 import Accept, Checkpoint, Classify, Discard, Fork, Restore, Save


class Session(Attachment):
    """A text that the caller and the model write together.

    An async context manager, made by `Client.session` or `Client.attach`. Entering opens the
    session or attaches to it; leaving deletes it, unless it has been detached. If an error leaves
    the block, the connection is broken instead, and the session's on_disconnect applies.

    Operations run in the order in which they are called. An operation that fails raises its
    CellwireError and leaves the session as it was. If the task of an operation is cancelled, the
    operation is cancelled in the daemon too.

    A durable session attaches again by itself after a loss, as `connect` says. Aborted and
    Unavailable mean that this client has lost the session; if the daemon has kept it,
    `Client.attach(session.id, offset=session.offset)` continues after the text that was read.

    Offsets and counts are in tokens; an offset is a number of tokens from the start of the text.
    """

    async def append(self, text: str | bytes) -> Appended:
        """Add text, as if the model had generated it: 1 to 1,000,000 characters.

        Bytes are for models that read bytes, and need not be whole characters. Completes that are
        under way are superseded.

        Raises InvalidArgument, and adds nothing, if a symbol is not in the model's vocabulary.
        """
        return await self._answer(Appended, append_message(text))

    def generate(
        self, *, seed: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """Let the model continue the text. See GenerateOptions.

        A seed applies to this operation alone; without one the session's is used. Completes that
        are under way are superseded.

        Reading it raises InvalidArgument for a value out of range and FailedPrecondition if the
        session has no text.
        """
        message = generate_message(seed=seed, **options)
        return Generation(ExchangeSource(self._exchange(message)))

    def resume(self, operation_id: int) -> Generation:
        """Return the rest of a generation that was running or waiting at attach.

        An operation that is not resumed before the session's next operation continues, but its text
        is dropped. Raises NotFound if there is no such operation to resume; reading it raises
        FailedPrecondition if it is not a generation.
        """
        inbox = self._stream.resumable.pop(operation_id, None)
        if inbox is None:
            raise NotFound(f"there is no operation {operation_id} to resume")
        exchange = Exchange(self._stream, lambda: inbox)
        exchange.start()
        return Generation(ExchangeSource(exchange))

    async def complete(self, **options: Unpack[CompleteOptions]) -> Completed:
        """Search for the most probable continuations; the text does not change.

        See CompleteOptions. Raises Superseded if another task changes the session's text meanwhile,
        FailedPrecondition if the session has no text, ResourceExhausted if the daemon has no room.
        """
        return await self._answer(Completed, complete_message(**options))

    async def completing(
        self, **options: Unpack[CompleteOptions]
    ) -> AsyncGenerator[Completed, None]:
        """Iterate over the best completions so far, each time they change; the last are final.

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

    async def accept(self, index: int = 0, *, tokens: int | None = None) -> Appended:
        """Add a completion, or its first tokens, exactly as if they were appended.

        index counts from 0 in the result of the last complete. Raises FailedPrecondition if the
        text has changed since then, NotFound if there is no such completion, OutOfRange if it has
        fewer tokens.
        """
        if tokens == 0:
            raise ValueError("accept takes at least one token")
        return await self._answer(Appended, Accept(index=index, tokens=tokens or 0))

    async def rewind(self, tokens: int | None = None, *, to: int | None = None) -> Rewound:
        """Go back by this many tokens, or to an offset, as if nothing after it had been added.

        Raises OutOfRange beyond the session's rewind_window or its start; the message names the
        earliest offset possible.
        """
        return await self._answer(Rewound, rewind_message(tokens, to))

    async def checkpoint(self, name: str) -> Checkpointed:
        """Keep the session as it is now under a name: 1 to 64 characters.

        `restore` returns to it, however far the session goes on. What has the name is replaced.

        Raises FailedPrecondition if the session is not durable, ResourceExhausted if it has 64
        checkpoints of other names.
        """
        return await self._answer(Checkpointed, Checkpoint(name=name))

    async def restore(self, name: str) -> Restored:
        """Make the session what it was at a checkpoint, so that it goes on as it did from there.

        What was added since is gone, unless another checkpoint keeps it. Completes that are under
        way are superseded.

        Raises NotFound if there is none of this name (the message lists those there are),
        FailedPrecondition if the session is not durable, Unavailable if the daemon's store fails.
        """
        return await self._answer(Restored, Restore(name=name))

    async def discard_checkpoint(self, name: str) -> Discarded:
        """Forget a checkpoint; the session stays as it is. Raises NotFound, FailedPrecondition."""
        return await self._answer(Discarded, Discard(name=name))

    async def fork(self, *, seed: int | None = None) -> Forked:
        """Create a session that is a copy of this one; no stream is attached to it.

            async with daemon.attach(await session.fork()) as other: ...

        Without a seed the daemon draws one. Raises ResourceExhausted if there is no room.
        """
        return await self._answer(Forked, Fork(seed=seed, session_id=new_session_id()))

    async def score(self, text: str | bytes, *, log_probabilities: bool = False) -> Scored:
        """Compute how probable a text is as the continuation; the session's text does not change.

        Raises InvalidArgument if a symbol is not in the model's vocabulary.
        """
        return await self._answer(Scored, score_message(text, log_probabilities=log_probabilities))

    async def classify(self) -> Classified:
        """Compute the scores of the model's labels for the text; it does not change.

        Raises FailedPrecondition if the model has no labels or the session no text.
        """
        return await self._answer(Classified, Classify())

    async def save(self) -> SafePoint:
        """Wait until all operations before this one are safe; return what is.

        Raises FailedPrecondition if the session is not durable, Unavailable if the daemon's store
        fails.
        """
        return await self._answer(SafePoint, Save())
