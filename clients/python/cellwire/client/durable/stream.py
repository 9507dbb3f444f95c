"""The stream of a durable session, over any number of links."""

from __future__ import annotations

import asyncio
import secrets

import grpc.aio

from cellwire.client.durable.comeback import Comeback
from cellwire.client.durable.journal import Journal
from cellwire.client.errors import Cancelled, CellwireError, NotFound, Unavailable
from cellwire.client.values import (
    Appended,
    Attached,
    Closed,
    Completing,
    FinalAnswer,
    Finished,
    Opened,
    PartialAnswer,
    Piece,
    Restored,
    Rewound,
    SafePoint,
)
from cellwire.client.wire.answers import answer_of, safe_point_of
from cellwire.client.wire.inbox import Inbox
from cellwire.client.wire.link import Link
from cellwire.client.wire.own_process import OwnProcess
from cellwire.client.wire.requests import Operation
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import Fork

_SEED_BITS = 53  # what the daemon draws


class DurableStream:
    """As `wire.stream.Stream`, but it goes on when its link is lost.

    The journal says what to send and what to give to the callers; one task reads, and begins
    another link after a loss.
    """

    def __init__(
        self, link: Link, start: Opened | Attached, journal: Journal, comeback: Comeback
    ) -> None:
        self.offset = 0
        """Where the text that has been read here ends."""
        self.resumable: dict[int, Inbox] = {}
        """The operations that were under way at attach and have no reader yet."""
        self.process = OwnProcess()
        if isinstance(start, Attached):
            self.offset = start.offset
            self.resumable = {id_: Inbox(id_) for id_ in start.operation_ids}
        self._link = link
        self._journal = journal
        self._comeback = comeback
        self._inboxes = dict(self.resumable)
        self._failure: CellwireError | None = None
        self._closed = False
        self._reader = asyncio.create_task(self._read())

    @property
    def safe(self) -> SafePoint | None:
        """How much of the session is safe; None if nothing is."""
        return self._journal.safe

    @property
    def over(self) -> bool:
        """Whether the stream has ended: no operation can be sent on it."""
        return self._failure is not None

    def send(self, operation: Operation) -> Inbox:
        """Send an operation after those before it, and return the inbox for its answers.

        Raises the error that ended the stream if it has ended.
        """
        self.process.check()
        if self._failure is not None:
            raise self._failure
        while self.resumable:
            self.resumable.popitem()[1].discard()
        for earlier in self._inboxes.values():
            earlier.take_rest()
        if isinstance(operation, Fork) and not operation.HasField("seed"):
            operation.seed = secrets.randbits(_SEED_BITS)  # sent again, it is the same copy
        key = self._journal.submit(operation)
        inbox = self._inboxes[key] = Inbox(key)
        self._flush()
        return inbox

    async def take(self, inbox: Inbox) -> PartialAnswer | FinalAnswer:
        """Return the next answer; raises the CellwireError that the operation ended with."""
        self.process.check()
        answer = await inbox.take()
        if isinstance(answer, Piece):
            self.offset = answer.end_offset
        elif isinstance(answer, Appended | Finished | Rewound | Restored):
            self.offset = answer.offset
        return answer

    def cancel(self, inbox: Inbox) -> None:
        """Ask the daemon to end an operation; its answers until then still arrive."""
        if not inbox.ended:
            inbox.take_rest()
            self._journal.cancel(inbox.operation_id)
            self._flush()

    def abandon_all(self) -> None:
        """Cancel all operations that are running or waiting, and drop their answers."""
        for inbox in list(self._inboxes.values()):
            self.cancel(inbox)
            inbox.discard()

    async def ended(self) -> None:
        """Wait until the daemon has ended the stream."""
        self.process.check()
        await asyncio.wait([self._reader])

    async def aclose(self) -> None:
        """End the stream now; operations that have not ended fail with Cancelled."""
        if self.process.left:  # its tasks and its call are those of another process
            return
        self._reader.cancel()
        await self._link.aclose()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        failure: CellwireError = Cancelled("the session is closed")
        try:
            self._flush()
            while (loss := await self._follow()) is not None:
                self._journal.lost()
                await self._link.aclose()
                self._link = await self._comeback.again(loss)
                self._flush()
        except NotFound as error:
            failure = error
            self._journal.gone()
            self._flush()
        except CellwireError as error:
            failure = error
        finally:
            self._fail(failure)

    async def _follow(self) -> CellwireError | None:
        """Read to the end of the link; return how it was lost, or None if the session is closed.

        Raises the CellwireError for which the session cannot go on.
        """
        try:
            async for response in self._link:
                await self._take(response)
        except grpc.aio.AioRpcError:
            loss = self._link.error()
        else:
            loss = Unavailable("the daemon ended the session")
        return None if self._closed else loss

    async def _take(self, response: StreamSessionResponse) -> None:
        answer = answer_of(response)
        safe = safe_point_of(response.safe) if response.HasField("safe") else None
        self._journal.receive(response.operation_id, answer, response.revision, safe)
        inbox = self._flush()
        if self._journal.failure is not None:
            raise self._journal.failure
        if inbox is not None:
            await inbox.room()

    def _flush(self) -> Inbox | None:
        """Send what is to be sent, and give what is to be given; return whom text was given to."""
        for operation_id, operation in self._journal.outgoing.messages:
            self._link.post(operation_id, operation)
        self._journal.outgoing.messages.clear()
        reading = None
        for key, answer in self._journal.gives:
            if isinstance(answer, Piece | Completing):
                reading = self._inboxes[key]
                reading.add(answer)
            else:
                self._closed |= isinstance(answer, Closed)
                self._inboxes.pop(key).end(answer)
        self._journal.gives.clear()
        return reading

    def _fail(self, failure: CellwireError) -> None:
        self._failure = failure
        self._link.stop_writing()
        for inbox in self._inboxes.values():
            inbox.end(failure)
        self._inboxes.clear()
