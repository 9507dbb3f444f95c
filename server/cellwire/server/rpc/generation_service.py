"""GenerationService: sessions, and single generations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio

from cellwire.server.errors import CellwireError, Draining, InvalidRequest, WrongState
from cellwire.server.events import Closed, Finished, Rejected
from cellwire.server.registry import Registry
from cellwire.server.rpc.convert import (
    append_of,
    chunk_message,
    coalesced,
    finished_message,
    generate_of,
)
from cellwire.server.rpc.live_session import LiveSession
from cellwire.server.rpc.outbox import Outboxes
from cellwire.server.rpc.requests import readable
from cellwire.server.rpc.session_stream import SessionStream
from cellwire.server.rpc.status import abort
from cellwire.v1.generation_pb2 import (
    GenerateRequest,
    GenerateResponse,
    SessionRequest,
    SessionResponse,
)
from cellwire.v1.generation_pb2_grpc import GenerationServiceServicer
from cellwire.v1.operations_pb2 import Open

_SHUTTING_DOWN = "the daemon is shutting down"
_FIRST_MESSAGE_TIMEOUT_S = 60.0


class GenerationService(GenerationServiceServicer):
    """Serves the models of a registry."""

    def __init__(self, registry: Registry, outboxes: Outboxes) -> None:
        self._registry = registry
        self._outboxes = outboxes
        self._sessions: set[LiveSession] = set()
        self._streams: set[SessionStream] = set()
        self._draining = False
        self._drained = asyncio.Event()

    def drain(self) -> None:
        """Refuse new calls, and let those there are come to their end."""
        self._draining = True
        for stream in self._streams:
            stream.drain()
        self._note_drained()

    async def drained(self) -> None:
        """Wait until every call there was when draining began has come to its end."""
        await self._drained.wait()

    def cut(self) -> None:
        """End every call that is left, with UNAVAILABLE."""
        for session in self._sessions:
            session.report(Closed(session.id, None, Draining(_SHUTTING_DOWN)))

    @asynccontextmanager
    async def _running(self, session: LiveSession) -> AsyncIterator[LiveSession]:
        """Open a session for as long as the context lasts, and keep count of it."""
        self._sessions.add(session)
        try:
            async with session:
                yield session
        finally:
            self._sessions.discard(session)
            self._note_drained()

    def _note_drained(self) -> None:
        if self._draining and not self._sessions:
            self._drained.set()

    # grpc.aio also takes a coroutine that writes for itself; the stubs do not say so.
    async def Session(  # type: ignore[override]  # noqa: N802  # the contract's name
        self,
        request_iterator: AsyncIterator[SessionRequest],
        context: aio.ServicerContext[SessionRequest, SessionResponse],
    ) -> None:
        """Serve one session, from open to close."""
        try:
            request = await _first(request_iterator)
            if request.WhichOneof("operation") != "open":
                raise WrongState("the first message of a session must be open")
            live = self._session(request.operation_id, request.open)
        except CellwireError as error:
            await abort(context, error)
        async with self._running(live):
            stream = SessionStream(live, request_iterator, context)
            self._streams.add(stream)
            try:
                await stream.run()
            finally:
                self._streams.discard(stream)

    async def Generate(  # type: ignore[override]  # noqa: N802  # the contract's name
        self,
        request: GenerateRequest,
        context: aio.ServicerContext[GenerateRequest, GenerateResponse],
    ) -> None:
        """Serve one generation."""
        try:
            live = self._session(0, request.open)
            append = append_of(1, request.prompt, live.model.vocabulary)
            generate = generate_of(2, request.generate)
        except CellwireError as error:
            await abort(context, error)
        async with self._running(live):
            live.submit(append)
            live.submit(generate)
            await _send_text(live, context, len(append.tokens))

    def _session(self, operation_id: int, message: Open) -> LiveSession:
        if self._draining:
            raise Draining(_SHUTTING_DOWN)
        return LiveSession(
            self._registry.find(message.model), self._outboxes, operation_id, message
        )


async def _first(requests: AsyncIterator[SessionRequest]) -> SessionRequest:
    """Return the first message; InvalidRequest or WrongState if none comes in time."""
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_TIMEOUT_S):
            request = await anext(readable(requests), None)
    except TimeoutError:
        raise WrongState(f"no open came within {_FIRST_MESSAGE_TIMEOUT_S:g} s") from None
    if request is None:
        raise InvalidRequest("the stream ended before it had begun; send open first")
    return request


async def _send_text(
    live: LiveSession,
    context: aio.ServicerContext[GenerateRequest, GenerateResponse],
    prompt_chars: int,
) -> None:
    """Write what the session generates, as it comes, to the end."""
    while True:
        for event in coalesced(await live.events()):
            if isinstance(event, list):
                chunk = chunk_message(event, live.model.vocabulary.symbols)
                await context.write(GenerateResponse(chunk=chunk))
                live.grant(len(event))
            elif isinstance(event, Rejected | Closed) and event.error is not None:
                await abort(context, event.error)
            elif isinstance(event, Finished):
                finished = finished_message(event)
                finished.usage.appended_chars = prompt_chars
                await context.write(GenerateResponse(finished=finished))
                return
