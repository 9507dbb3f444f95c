"""One session's stream: a task that routes each answer to its operation."""

from __future__ import annotations

import asyncio
import itertools

import grpc.aio

from cellwire.client.errors import Cancelled, CellwireError, Unavailable
from cellwire.client.values import (
    Appended,
    Attached,
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
from cellwire.client.wire.answers import answer_of
from cellwire.client.wire.inbox import Inbox
from cellwire.client.wire.link import Link, new_operation_id
from cellwire.client.wire.own_process import OwnProcess
from cellwire.client.wire.requests import Operation
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import Cancel, Close

CANCEL_ID = 0
"""Cancels share this id: their answers are not needed, since what they cancel has its own."""


class Stream:
    """Sends operations and routes their answers, on a link that open or attach has begun.

    A caller may be cancelled at any time, and only its operation ends.

    The reading task waits while an inbox is full, and the generation that fills it pauses. An
    operation behind it would then wait without end, so from then on all of the text is taken.
    """

    safe: SafePoint | None = None
    """How much of the session is safe: it is not durable."""

    def __init__(self, link: Link, start: Opened | Attached) -> None:
        self.offset = 0
        """Where the text that has been read here ends."""
        self.resumable: dict[int, Inbox] = {}
        """The operations that were under way at attach and have no reader yet."""
        self.process = OwnProcess()
        if isinstance(start, Attached):
            self.offset = start.offset
            self.resumable = {id_: Inbox(id_) for id_ in start.operation_ids}
        self._link = link
        self._ids = itertools.count(new_operation_id())
        self._inboxes = dict(self.resumable)
        self._failure: CellwireError | None = None
        self._closing = False
        self._reader = asyncio.create_task(self._read())

    @property
    def over(self) -> bool:
        """Whether the stream has ended: no operation can be sent on it."""
        return self._failure is not None

    def send(self, operation: Operation) -> Inbox:
        """Send an operation after those before it, and return the inbox for its answers.

        Text of resumable operations is dropped from now on: a new operation would wait for ever
        behind one that is not read. Raises the error that ended the stream if it has ended.
        """
        self.process.check()
        if self._failure is not None:
            raise self._failure
        while self.resumable:
            self.resumable.popitem()[1].discard()
        self._closing = isinstance(operation, Close)
        for earlier in self._inboxes.values():
            earlier.take_rest()
        inbox = Inbox(next(self._ids))
        self._inboxes[inbox.operation_id] = inbox
        self._link.post(inbox.operation_id, operation)
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
            inbox.take_rest()  # its end, and the answers behind that, may follow more text
            self._link.post(CANCEL_ID, Cancel(operation_id=inbox.operation_id))

    def abandon_all(self) -> None:
        """Cancel all operations that are running or waiting, and drop their answers."""
        for inbox in self._inboxes.values():
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
            async for response in self._link:
                await self._route(response)
            if not self._closing:
                failure = Unavailable("the daemon ended the session")
        except grpc.aio.AioRpcError:
            failure = self._link.error()
        finally:
            self._fail(failure)

    async def _route(self, response: StreamSessionResponse) -> None:
        inbox = self._inboxes.get(response.operation_id)
        answer = answer_of(response)
        if inbox is None or answer is None:
            return
        if isinstance(answer, Piece | Completing):
            await inbox.put(answer)
        else:
            del self._inboxes[response.operation_id]
            inbox.end(answer)

    def _fail(self, failure: CellwireError) -> None:
        self._failure = failure
        self._link.stop_writing()
        for inbox in self._inboxes.values():
            inbox.end(failure)
        self._inboxes.clear()
