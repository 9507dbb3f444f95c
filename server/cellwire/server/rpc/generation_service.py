"""GenerationService: sessions, and single operations without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

from grpc import aio

from cellwire.server.batch.limits import FIRST_MESSAGE_TIMEOUT_S
from cellwire.server.errors import FailedPrecondition, InvalidArgument, Unavailable
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.reading import Reader, read, read_seed, read_settings
from cellwire.server.rpc.session_stream import SessionStream
from cellwire.server.rpc.wire import write
from cellwire.server.rpc.writing import Writer, coalesced, scored_message
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
    """Serves the models of a registry."""

    def __init__(self, sessions: SessionDirectory, limits: Limits) -> None:
        self._sessions = sessions
        # More than may wait in a session: its client hears RESOURCE_EXHAUSTED before its stream is
        # read no longer.
        self._max_unanswered = 2 * limits.waiting_operations
        self._streams: set[SessionStream] = set()
        self._beginning: set[asyncio.Timeout] = set()  # of the streams that have not sent anything

    def drain(self) -> None:
        """Refuse new calls, and let those there are come to their end."""
        self._sessions.drain()
        for stream in self._streams:
            stream.drain()
        for patience in self._beginning:
            if not patience.expired():
                patience.reschedule(0)

    # grpc.aio also takes a coroutine that writes for itself; the stubs do not say so.
    async def StreamSession(  # type: ignore[override]
        self,
        request_iterator: AsyncIterator[StreamSessionRequest],
        context: aio.ServicerContext[StreamSessionRequest, StreamSessionResponse],
    ) -> None:
        """Serve one stream: of a new session, or of one to attach to."""
        request = await self._first(request_iterator)
        attach = request.attach if request.HasField("attach") else None
        if attach is not None:
            live = self._sessions.find(attach.session_id)
        else:
            live = self._open(request.open, request.operation_id)
        stream = SessionStream(live, request_iterator, context, self._max_unanswered)
        self._streams.add(stream)
        try:
            await stream.run(attach, request.operation_id)
        finally:
            self._streams.discard(stream)

    def _open(self, message: Open, operation_id: int) -> SessionHandle:
        model = self._sessions.registry.find(message.model)
        return self._sessions.open(
            model, read_seed(message), read_settings(message), operation_id=operation_id
        )

    def _open_for_one_call(self, message: Open) -> AbstractAsyncContextManager[SessionHandle]:
        model = self._sessions.registry.find(message.model)
        return self._sessions.open_for_one_call(model, read_seed(message), read_settings(message))

    async def _first(self, requests: AsyncIterator[StreamSessionRequest]) -> StreamSessionRequest:
        """Return the first message, an open or an attach; CellwireError if none comes in time."""
        timeout_s = 0 if self._sessions.draining else FIRST_MESSAGE_TIMEOUT_S
        patience = asyncio.timeout(timeout_s)
        self._beginning.add(patience)
        try:
            async with patience:
                request = await anext(requests, None)
        except TimeoutError:
            if self._sessions.draining:
                raise Unavailable("the daemon is shutting down") from None
            raise FailedPrecondition(
                f"neither open nor attach came within {timeout_s:g} s"
            ) from None
        finally:
            self._beginning.discard(patience)
        if request is None:
            raise InvalidArgument("the stream ended before it had begun; send open or attach first")
        if request.WhichOneof("operation") not in {"open", "attach"}:
            raise FailedPrecondition("the first message of a session must be open or attach")
        return request

    async def Generate(  # type: ignore[override]
        self,
        request: GenerateRequest,
        context: aio.ServicerContext[GenerateRequest, GenerateResponse],
    ) -> None:
        """Serve one generation."""
        async with self._open_for_one_call(request.open) as live:
            reader, writer = Reader(live.model, live.settings), Writer(live.model)
            append = await read(partial(reader.append, 1), request.prompt)
            generate = await read(partial(reader.generate, 2), request.generate)
            live.submit(append)
            live.submit(generate)
            async for event in _events(live):
                if isinstance(event, list):
                    if chunk := writer.chunk(event):
                        await write(context, GenerateResponse(chunk=chunk))
                    live.grant_again(event)
                elif isinstance(event, Finished):
                    finished = writer.finished(event)
                    finished.usage.appended_tokens = len(append.tokens)
                    await write(context, GenerateResponse(finished=finished))
                    return

    async def Complete(
        self, request: CompleteRequest, context: aio.ServicerContext[Any, Any]
    ) -> CompleteResponse:
        """Complete one text."""
        async with self._open_for_one_call(request.open) as live:
            reader, writer = Reader(live.model, live.settings), Writer(live.model)
            live.submit(await read(partial(reader.append, 1), request.prompt))
            request.complete.partial_results = False  # there is only one answer
            live.submit(await read(partial(reader.complete, 2), request.complete))
            completed = await _first_of(Completed, live)
            return CompleteResponse(completed=writer.completed(completed))

    async def Score(
        self, request: ScoreRequest, context: aio.ServicerContext[Any, Any]
    ) -> ScoreResponse:
        """Score one text."""
        async with self._open_for_one_call(request.open) as live:
            reader = Reader(live.model, live.settings)
            if request.HasField("prompt"):
                live.submit(await read(partial(reader.append, 1), request.prompt))
            live.submit(await read(partial(reader.score, 2), request.score))
            return ScoreResponse(scored=scored_message(await _first_of(Scored, live)))

    async def Classify(
        self, request: ClassifyRequest, context: aio.ServicerContext[Any, Any]
    ) -> ClassifyResponse:
        """Classify one text."""
        async with self._open_for_one_call(request.open) as live:
            reader, writer = Reader(live.model, live.settings), Writer(live.model)
            live.submit(await read(partial(reader.append, 1), request.prompt))
            live.submit(reader.classify(2))
            classified = await _first_of(Classified, live)
            return ClassifyResponse(classified=writer.classified(classified))


async def _events(live: SessionHandle) -> AsyncIterator[Event | list[Written]]:
    """Yield a session's events; CellwireError as soon as one of its operations fails."""
    while True:
        for event in coalesced(await live.events()):
            if isinstance(event, Rejected | Closed) and event.error is not None:
                raise event.error
            yield event


async def _first_of(kind: type[E], live: SessionHandle) -> E:
    """Return the first event of a kind; CellwireError if an operation fails before."""
    async for event in _events(live):
        if isinstance(event, kind):
            return event
        assert isinstance(event, Opened | Appended)
    raise AssertionError("a session's events never end")
