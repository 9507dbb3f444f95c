"""One session's stream: a task that writes, and a task that routes each answer to its operation."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cellwire.client.errors import Cancelled, CellwireError, Unavailable
from cellwire.client.values import (
    Appended,
    Attached,
    Completing,
    FinalAnswer,
    Finished,
    PartialAnswer,
    Piece,
    Restored,
    Rewound,
)
from cellwire.client.wire.answers import answer_of
from cellwire.client.wire.call_status import CallStatus
from cellwire.client.wire.inbox import Inbox
from cellwire.client.wire.own_process import OwnProcess
from cellwire.client.wire.requests import Operation, request_of
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.operations_pb2 import Cancel, Close

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[StreamSessionRequest, StreamSessionResponse]

# Cancels share this id: their answers are not needed, since the cancelled operation has its own.
_CANCEL_ID = 0


class Stream:
    """Sends operations and routes their answers.

    A separate task writes, because grpc.aio ends the whole call when a task that is writing is
    cancelled. So a caller may be cancelled at any time, and only its operation ends.

    The reading task waits while an inbox is full, and the generation that fills it pauses. An
    operation behind it would then wait without end, so from then on all of the text is taken.
    """

    def __init__(self, call: _Call) -> None:
        self.offset = 0
        """Where the text that has been read here ends."""
        self.resumable: dict[int, Inbox] = {}
        """The operations that were under way at attach and have no reader yet."""
        self.process = OwnProcess()
        self._call = call
        self._status = CallStatus(call)
        # Not from 1: an attached session may still answer operations of another stream.
        self._ids = itertools.count(_CANCEL_ID + 1 + secrets.randbits(48))
        self._inboxes: dict[int, Inbox] = {}
        self._outbox: asyncio.Queue[StreamSessionRequest] = asyncio.Queue()
        self._failure: CellwireError | None = None
        self._closing = False
        self._writer = asyncio.create_task(self._write())
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
        self._outbox.put_nowait(request_of(inbox.operation_id, operation))
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
            cancel = Cancel(operation_id=inbox.operation_id)
            self._outbox.put_nowait(request_of(_CANCEL_ID, cancel))

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
        self._call.cancel()
        self._writer.cancel()
        self._reader.cancel()
        await asyncio.wait([self._writer, self._reader])

    async def _write(self) -> None:
        try:
            while True:
                await self._call.write(await self._outbox.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended; the reading task gets its status.
            return

    async def _read(self) -> None:
        failure: CellwireError = Cancelled("the session is closed")
        try:
            async for response in self._call:
                await self._route(response)
            if not self._closing:
                failure = Unavailable("the daemon ended the session")
        except grpc.aio.AioRpcError:
            failure = self._status.error()
        finally:
            self._fail(failure)

    async def _route(self, response: StreamSessionResponse) -> None:
        inbox = self._inboxes.get(response.operation_id)
        answer = answer_of(response)
        if inbox is None or answer is None:
            return
        if isinstance(answer, Attached):
            self.resumable = {id_: Inbox(id_) for id_ in answer.operation_ids}
            self._inboxes |= self.resumable
        if isinstance(answer, Piece | Completing):
            await inbox.put(answer)
        else:
            del self._inboxes[response.operation_id]
            inbox.end(answer)

    def _fail(self, failure: CellwireError) -> None:
        self._failure = failure
        self._writer.cancel()
        for inbox in self._inboxes.values():
            inbox.end(failure)
        self._inboxes.clear()
