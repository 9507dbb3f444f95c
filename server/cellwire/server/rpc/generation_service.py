"""GenerationService: the streams of sessions, and single calls without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from grpc import aio

from cellwire.server.batch.limits import FIRST_MESSAGE_TIMEOUT_S
from cellwire.server.errors import FailedPrecondition, InvalidArgument, Unavailable
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.earlier_text import reach_from
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Durability
from cellwire.server.rpc.chunks import ChunkWriter, coalesced
from cellwire.server.rpc.durable_stream import DurableStream
from cellwire.server.rpc.reading import Reader, read
from cellwire.server.rpc.reading_settings import read_new_id, read_seed, read_settings
from cellwire.server.rpc.session_stream import SessionStream
from cellwire.server.rpc.wire import write
from cellwire.server.rpc.writing import (
    classified_message,
    completed_message,
    finished_message,
    scored_message,
)
from cellwire.server.session.events import (
    Appended,
    Classified,
    Closed,
    Completed,
    Event,
    Finished,
    Opened,
    Rejected,
    Scored,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.v1.generation_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    CompleteRequest,
    CompleteResponse,
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    StreamSessionRequest,
    StreamSessionResponse,
)
from cellwire.v1.generation_pb2_grpc import GenerationServiceServicer
from cellwire.v1.operations_pb2 import Open

E = TypeVar("E", Completed, Scored, Classified)


class GenerationService(GenerationServiceServicer):
    """Opens and attaches to the sessions of a directory."""

    def __init__(self, sessions: SessionDirectory, limits: Limits) -> None:
        self._sessions = sessions
        # More than may wait in a session: a client gets RESOURCE_EXHAUSTED before its stream is
        # read no further.
        self._max_unanswered = 2 * limits.waiting_operations
        self.streams: set[SessionStream] = set()
        self._beginning: set[asyncio.Timeout] = set()  # of streams without a message

    @property
    def beginning_streams(self) -> int:
        """How many streams have not sent their first message yet."""
        return len(self._beginning)

    def drain(self) -> None:
        """Refuse new calls, and let those that are running come to their ends."""
        self._sessions.drain()
        for stream in self.streams:
            stream.drain()
        for timeout in self._beginning:
            if not timeout.expired():
                timeout.reschedule(0)

    # grpc.aio also takes a coroutine that writes its answers; the stubs do not know that.
    async def StreamSession(  # type: ignore[override]
        self,
        request_iterator: AsyncIterator[StreamSessionRequest],
        context: aio.ServicerContext[StreamSessionRequest, StreamSessionResponse],
    ) -> None:
        """Serve the stream of a new session, or of one to attach to."""
        first = await self._first(request_iterator)
        attach = first.attach if first.HasField("attach") else None
        earlier = None
        if attach is None:
            session = await self._open(first.open, first.operation_id)
        elif attach.HasField("offset"):
            session, earlier = await reach_from(
                self._sessions, attach.session_id, attach.offset, takeover=attach.takeover
            )
        else:
            session = await self._sessions.reach(attach.session_id, takeover=attach.takeover)
        kind = DurableStream if isinstance(session, DurableSession) else SessionStream
        stream = kind(session, request_iterator, context, self._max_unanswered)
        if isinstance(stream, DurableStream):
            stream.earlier = earlier
        self.streams.add(stream)
        try:
            await stream.run(attach, first.operation_id)
        finally:
            self.streams.discard(stream)

    async def _first(self, requests: AsyncIterator[StreamSessionRequest]) -> StreamSessionRequest:
        """Return the first message, an open or an attach; CellwireError if none comes in time."""
        timeout = asyncio.timeout(0 if self._sessions.draining else FIRST_MESSAGE_TIMEOUT_S)
        self._beginning.add(timeout)
        try:
            async with timeout:
                request = await anext(requests, None)
        except TimeoutError:
            if self._sessions.draining:
                raise Unavailable from None
            raise FailedPrecondition(
                f"neither open nor attach came within {FIRST_MESSAGE_TIMEOUT_S} s"
            ) from None
        finally:
            self._beginning.discard(timeout)
        if request is None:
            raise InvalidArgument("the stream ended before it had begun; send open or attach first")
        if request.WhichOneof("operation") not in {"open", "attach"}:
            raise FailedPrecondition("the first message of a session must be open or attach")
        return request

    async def _open(self, message: Open, operation_id: int) -> SessionHandle:
        sessions = self._sessions
        model = sessions.registry.find(message.model)
        seed, settings = read_seed(message), read_settings(message)
        session_id = read_new_id(message)
        chosen = message.HasField("session_id")
        if chosen:
            await sessions.check_new(session_id)
        session = sessions.open(session_id, model, seed, settings, operation_id=operation_id)
        if chosen and isinstance(session, DurableSession) and sessions.stored is not None:
            # Another daemon may be making one of the same id.
            session.gate.created_first = sessions.stored.shared
        return session

    def _open_for_one_call(self, message: Open) -> AbstractAsyncContextManager[SessionHandle]:
        model = self._sessions.registry.find(message.model)
        settings = replace(read_settings(message), durability=Durability.NONE)
        return self._sessions.open_for_one_call(model, read_seed(message), settings)

    async def Generate(  # type: ignore[override]
        self,
        request: GenerateRequest,
        context: aio.ServicerContext[GenerateRequest, GenerateResponse],
    ) -> None:
        """Generate from a prompt."""
        async with self._open_for_one_call(request.open) as session:
            reader = Reader(session.model, session.settings, session.text_ends)
            chunks = ChunkWriter(session.model.vocabulary)
            append = await read(partial(reader.append, 1), request.prompt)
            session.submit(append)
            session.submit(await read(partial(reader.generate, 2), request.generate))
            async for event in _events(session):
                if isinstance(event, list):
                    if chunk := chunks.chunk(event):
                        await write(context, GenerateResponse(chunk=chunk))
                    session.grant_again(event)
                elif isinstance(event, Finished):
                    finished = finished_message(event)
                    finished.usage.appended_tokens = len(append.tokens)
                    await write(context, GenerateResponse(finished=finished))
                    return

    async def Complete(
        self, request: CompleteRequest, context: aio.ServicerContext[Any, Any]
    ) -> CompleteResponse:
        """Complete a prompt."""
        async with self._open_for_one_call(request.open) as session:
            reader = Reader(session.model, session.settings, session.text_ends)
            session.submit(await read(partial(reader.append, 1), request.prompt))
            request.complete.partial_results = False  # there is only one answer
            session.submit(await read(partial(reader.complete, 2), request.complete))
            completed = await _first_of(Completed, session)
            return CompleteResponse(completed=completed_message(completed, session.model))

    async def Score(
        self, request: ScoreRequest, context: aio.ServicerContext[Any, Any]
    ) -> ScoreResponse:
        """Score a text, after a prompt if there is one."""
        async with self._open_for_one_call(request.open) as session:
            reader = Reader(session.model, session.settings, session.text_ends)
            if request.HasField("prompt"):
                session.submit(await read(partial(reader.append, 1), request.prompt))
            session.submit(await read(partial(reader.score, 2), request.score))
            return ScoreResponse(scored=scored_message(await _first_of(Scored, session)))

    async def Classify(
        self, request: ClassifyRequest, context: aio.ServicerContext[Any, Any]
    ) -> ClassifyResponse:
        """Classify a prompt."""
        async with self._open_for_one_call(request.open) as session:
            reader = Reader(session.model, session.settings, session.text_ends)
            session.submit(await read(partial(reader.append, 1), request.prompt))
            session.submit(reader.classify(2))
            classified = await _first_of(Classified, session)
            return ClassifyResponse(classified=classified_message(classified, session.model))


async def _events(session: SessionHandle) -> AsyncIterator[Event | list[Written]]:
    """Yield a session's events; CellwireError as soon as one of its operations fails."""
    while True:
        for event in coalesced(await session.events()):
            if isinstance(event, Rejected | Closed) and event.error is not None:
                raise event.error
            yield event


async def _first_of(kind: type[E], session: SessionHandle) -> E:
    """Return the first event of a kind; CellwireError if an operation fails before."""
    async for event in _events(session):
        if isinstance(event, kind):
            return event
        assert isinstance(event, Opened | Appended)
    raise AssertionError("a session's events never end")
