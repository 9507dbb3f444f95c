"""One Session call: a loop that receives operations, and a loop that sends answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from grpc import aio

from cellwire.server.errors import CellwireError, Draining, Fault, InvalidRequest
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
from cellwire.server.rpc.requests import readable
from cellwire.server.rpc.status import abort
from cellwire.server.session import Limits
from cellwire.v1.generation_pb2 import SessionRequest, SessionResponse

_log = logging.getLogger(__name__)

Context = aio.ServicerContext[SessionRequest, SessionResponse]

# More than a session lets wait, so that a client hears RESOURCE_EXHAUSTED before we stop reading.
_MAX_UNANSWERED = 2 * Limits().waiting_operations
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
        self._draining = False
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
        self._draining = True
        if self._receiving is not None:
            self._receiving.cancel()
        self._session.finish()

    async def _receive(self) -> None:
        """Pass operations on, until the client closes its side of the stream."""
        try:
            async for request in readable(self._requests):
                await self._unanswered.acquire()
                await self._try_to_pass_on(request)
            self._session.finish()
        # Whatever goes wrong here, the send loop must hear of it, or the call would never end.
        except CellwireError as error:
            self._session.report(Closed(self._session.id, None, error))
        except Exception:  # noqa: BLE001
            _log.exception("a session's receive loop failed")
            self._session.report(Closed(self._session.id, None, Fault("the daemon made a mistake")))

    async def _try_to_pass_on(self, request: SessionRequest) -> None:
        try:
            await self._pass_on(request)
        except CellwireError as error:
            self._session.report(Rejected(self._session.id, request.operation_id, error))

    async def _pass_on(self, request: SessionRequest) -> None:
        """Hand one operation to the session."""
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
            case "open":
                raise InvalidRequest("the session is open already; open comes first, and once")
            case _:
                raise InvalidRequest("the message holds no operation this daemon knows")

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
        if event.error is not None:
            await abort(self._context, event.error)
        if event.operation_id is not None:
            await self._context.write(answer_message(event))
        elif self._draining:
            await abort(self._context, Draining("the daemon is shutting down"))
