"""One Session call: a loop that receives operations, and a loop that sends answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc import aio

from cellwire.server.errors import CellwireError, Draining, InvalidRequest
from cellwire.server.events import Closed, Opened, Rejected, Written
from cellwire.server.operations import Close
from cellwire.server.rpc.convert import (
    answer_message,
    append_of,
    chunk_message,
    coalesced,
    generate_of,
)
from cellwire.server.rpc.live_session import LiveSession
from cellwire.server.rpc.status import abort
from cellwire.v1.generation_pb2 import SessionRequest, SessionResponse

Context = aio.ServicerContext[SessionRequest, SessionResponse]

# Twice what a session lets wait, so that a client hears RESOURCE_EXHAUSTED before we stop reading.
_MAX_UNANSWERED = 128
# Text longer than this is encoded in another thread, so that other streams are not held up.
_LONG_TEXT_CHARS = 10_000


class SessionStream:
    """Carries the operations of one client to its session, and the answers back.

    Only the send loop writes. It takes everything there is since its last write, so a client that
    keeps up gets a character a message, and one that does not gets longer chunks. What is written
    is granted to the session again: a client that does not read pauses its own generation only.
    """

    def __init__(
        self, session: LiveSession, requests: AsyncIterator[SessionRequest], context: Context
    ) -> None:
        self._session = session
        self._requests = requests
        self._context = context
        self._unanswered = asyncio.Semaphore(_MAX_UNANSWERED)
        self._answer_close = True
        self._end: CellwireError | None = None
        self._receiving: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the call to its end."""
        self._receiving = asyncio.create_task(self._receive())
        try:
            await self._send()
        finally:
            self._receiving.cancel()

    def drain(self) -> None:
        """Take no more operations, finish those there are, then end with UNAVAILABLE."""
        self._end = Draining("the daemon is shutting down; open a new session elsewhere")
        if self._receiving is not None:
            self._receiving.cancel()
        self._session.submit(Close(0))

    async def _receive(self) -> None:
        """Pass operations on, until the client closes the session or its side of the stream."""
        async for request in self._requests:
            await self._unanswered.acquire()
            try:
                if await self._pass_on(request):
                    return
            except CellwireError as error:
                self._session.report(Rejected(self._session.id, request.operation_id, error))
        self._answer_close = False
        self._session.submit(Close(0))

    async def _pass_on(self, request: SessionRequest) -> bool:
        """Hand one operation to the session; True if it is the last."""
        operation_id = request.operation_id
        match request.WhichOneof("operation"):
            case "append":
                vocabulary = self._session.model.vocabulary
                arguments = operation_id, request.append, vocabulary
                if len(request.append.text) > _LONG_TEXT_CHARS:
                    self._session.submit(await asyncio.to_thread(append_of, *arguments))
                else:
                    self._session.submit(append_of(*arguments))
            case "generate":
                self._session.submit(generate_of(operation_id, request.generate))
            case "cancel":
                self._session.cancel(operation_id, request.cancel.operation_id)
            case "close":
                self._session.submit(Close(operation_id))
                return True
            case "open":
                raise InvalidRequest("the session is open already; open comes first, and once")
            case _:
                raise InvalidRequest("the message holds no operation this daemon knows")
        return False

    async def _send(self) -> None:
        """Write answers as they come, until the session is closed."""
        while True:
            for event in coalesced(await self._session.events()):
                if isinstance(event, list):
                    await self._write_chunk(event)
                elif isinstance(event, Closed):
                    await self._write_end(event)
                    return
                elif isinstance(event, Opened):
                    await self._write_opened(event)
                else:
                    await self._context.write(answer_message(event))
                    # It has had its last answer; that makes room for another operation.
                    self._unanswered.release()

    async def _write_opened(self, event: Opened) -> None:
        opened = self._session.opened
        await self._context.write(SessionResponse(operation_id=event.operation_id, opened=opened))

    async def _write_chunk(self, written: list[Written]) -> None:
        chunk = chunk_message(written, self._session.model.vocabulary.symbols)
        operation_id = written[0].operation_id
        await self._context.write(SessionResponse(operation_id=operation_id, chunk=chunk))
        self._session.grant(len(written))

    async def _write_end(self, event: Closed) -> None:
        error = event.error or self._end
        if error is not None:
            await abort(self._context, error)
        if self._answer_close:
            await self._context.write(answer_message(event))
