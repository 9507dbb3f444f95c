"""One session's stream: one task writes it, one reads it and hands each answer to its operation."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cellwire.client.answers import answer_of
from cellwire.client.ending import Ending
from cellwire.client.errors import Cancelled, CellwireError, Unavailable
from cellwire.client.inbox import Inbox
from cellwire.client.requests import Operation, request_of
from cellwire.client.values import (
    Answer,
    Appended,
    Attached,
    Completing,
    Finished,
    News,
    Piece,
    Rewound,
)
from cellwire.v1.generation_pb2 import SessionRequest, SessionResponse
from cellwire.v1.operations_pb2 import Cancel, Close

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[SessionRequest, SessionResponse]

# Cancels share this id: nobody waits for their answers, the cancelled operation has its own.
_NOBODY = 0


class Stream:
    """Sends operations and routes their answers.

    Writing has a task of its own because grpc.aio ends the whole call when a task that is writing
    is cancelled; so a caller may be cancelled at any time and only its operation ends.

    The reading task waits while an inbox is full. The session's other operations then wait too,
    which is no loss: they run after the one that is not being read.
    """

    def __init__(self, call: _Call) -> None:
        self.offset = 0
        """Where the text that has been read here ends."""
        self.left: dict[int, Inbox] = {}
        """What was under way when the session was attached to, and nobody here reads yet."""
        self._call = call
        self._ending = Ending(call)
        # Not from 1: an attached session may still answer what another stream has asked.
        self._ids = itertools.count(_NOBODY + 1 + secrets.randbits(48))
        self._inboxes: dict[int, Inbox] = {}
        self._outbox: asyncio.Queue[SessionRequest] = asyncio.Queue()
        self._failure: CellwireError | None = None
        self._closing = False
        self._writer = asyncio.create_task(self._write())
        self._reader = asyncio.create_task(self._read())

    def ask(self, operation: Operation) -> Inbox:
        """Send an operation after those before it; its answers come into the inbox.

        What nobody has begun to read of the time before goes by unread: an operation that waited
        for a reader behind it would wait for ever. Raises the error that ended the stream if it
        has ended.
        """
        if self._failure is not None:
            raise self._failure
        while self.left:
            self.left.popitem()[1].discard()
        self._closing = isinstance(operation, Close)
        inbox = Inbox(next(self._ids))
        self._inboxes[inbox.operation_id] = inbox
        self._outbox.put_nowait(request_of(inbox.operation_id, operation))
        return inbox

    async def take(self, inbox: Inbox) -> News | Answer:
        """Return what comes next for an operation; raises the CellwireError it ended with."""
        answer = await inbox.take()
        if isinstance(answer, Piece):
            self.offset = answer.end_offset
        elif isinstance(answer, Appended | Finished | Rewound):
            self.offset = answer.offset
        return answer

    def forget(self, inbox: Inbox) -> None:
        """Wait for no more answers to an operation."""
        self._inboxes.pop(inbox.operation_id, None)

    def cancel(self, inbox: Inbox) -> None:
        """Ask the daemon to end an operation; what it still answers comes into its inbox."""
        if not inbox.ended:
            cancel = Cancel(operation_id=inbox.operation_id)
            self._outbox.put_nowait(request_of(_NOBODY, cancel))

    def abandon(self, inbox: Inbox) -> None:
        """Cancel an operation whose answers nobody wants any more."""
        self.cancel(inbox)
        inbox.discard()

    def abandon_all(self) -> None:
        """Cancel all operations that are running or waiting."""
        for inbox in self._inboxes.values():
            self.abandon(inbox)

    async def ended(self) -> None:
        """Wait until the daemon has ended the stream."""
        await asyncio.wait([self._reader])

    async def aclose(self) -> None:
        """End the stream now; operations still waiting fail with Cancelled."""
        self._call.cancel()
        self._writer.cancel()
        self._reader.cancel()
        await asyncio.wait([self._writer, self._reader])

    async def _write(self) -> None:
        try:
            while True:
                await self._call.write(await self._outbox.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended. The reading task learns why, and tells.
            return

    async def _read(self) -> None:
        failure: CellwireError = Cancelled("the session is closed")
        try:
            async for response in self._call:
                await self._route(response)
            if not self._closing:
                failure = Unavailable("the daemon ended the session")
        except grpc.aio.AioRpcError:
            failure = self._ending.error()
        finally:
            self._fail(failure)

    async def _route(self, response: SessionResponse) -> None:
        inbox = self._inboxes.get(response.operation_id)
        answer = answer_of(response)
        if inbox is None or answer is None:
            return
        if isinstance(answer, Attached):
            self.left = {id_: Inbox(id_) for id_ in answer.operation_ids}
            self._inboxes |= self.left
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
