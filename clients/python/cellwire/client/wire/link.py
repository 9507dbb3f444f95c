"""One call of StreamSession: a task that writes, and the answers in their order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cellwire.client.errors import CellwireError, Unavailable
from cellwire.client.wire.answers import answer_of
from cellwire.client.wire.call import client_closed, response_of, started
from cellwire.client.wire.call_status import CallStatus
from cellwire.client.wire.connection import Connection
from cellwire.client.wire.requests import Operation, request_of
from cellwire.client.wire.session_id import metadata_of
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.sessions_pb2 import GetSessionRequest

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[StreamSessionRequest, StreamSessionResponse]


def new_operation_id() -> int:
    """Return an id from which operations can be counted.

    Not 1: an attached session may still answer operations of another stream.
    """
    return 1 + secrets.randbits(48)


class Links:
    """Starts the streams of one session."""

    def __init__(self, connection: Connection, session_id: str) -> None:
        self._connection = connection
        self._session_id = session_id
        self._metadata = metadata_of(session_id)

    def start(self, *, wait: bool = False) -> Link:
        """Start a stream; `wait` until there is a connection, instead of failing for want of one.

        Raises Cancelled if the client has been closed.
        """
        call = started(
            lambda: self._connection.generations.StreamSession(
                metadata=self._metadata, wait_for_ready=wait or None
            )
        )
        return Link(call)

    async def is_attached(self) -> bool:
        """Return whether a stream is attached to the session; raises NotFound if there is none."""
        request = GetSessionRequest(session_id=self._session_id)
        call = self._connection.sessions.GetSession(request, metadata=self._metadata)
        response = await response_of(call)
        return response.session.attached


class Link:
    """A stream to the daemon.

    A separate task writes, because grpc.aio ends the whole call when a task that is writing is
    cancelled. So a caller may be cancelled at any time, and only its operation ends. One task
    reads, `first` and then the rest by `async for`, which raises grpc.aio's errors; `error` returns
    this client's.
    """

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._status = CallStatus(call)
        self._outbox: asyncio.Queue[StreamSessionRequest] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())

    def post(self, operation_id: int, operation: Operation) -> None:
        """Send an operation after those before it."""
        self._outbox.put_nowait(request_of(operation_id, operation))

    async def first(self, operation_id: int, operation: Operation) -> StreamSessionResponse:
        """Send the first operation, and return its answer; raises the error that it failed with."""
        self.post(operation_id, operation)
        try:
            response = await anext(aiter(self))
        except StopAsyncIteration:
            raise Unavailable("the daemon ended the session") from None
        except grpc.aio.AioRpcError:
            raise self.error() from None
        except asyncio.CancelledError:
            # grpc.aio raises this if the channel is closed, even if the task was not cancelled.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise client_closed() from None
        if isinstance(refusal := answer_of(response), CellwireError):
            raise refusal
        return response

    def __aiter__(self) -> AsyncIterator[StreamSessionResponse]:
        return aiter(self._call)

    def error(self) -> CellwireError:
        """Return the error for the status of a stream that has failed."""
        return self._status.error()

    def stop_writing(self) -> None:
        """Write nothing any more: the stream has ended."""
        self._writer.cancel()

    async def aclose(self) -> None:
        """End the stream now."""
        self._call.cancel()
        self._writer.cancel()
        await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while True:
                await self._call.write(await self._outbox.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended; the task that reads gets its status.
            return
