"""A daemon that keeps the contract, for what a client can see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from cellwire.v1 import models_pb2
from cellwire.v1.generation_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    CompleteRequest,
    CompleteResponse,
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    SessionRequest,
    SessionResponse,
)
from cellwire.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from cellwire.v1.models_pb2_grpc import add_ModelsServiceServicer_to_server
from cellwire.v1.operations_pb2 import Chunk, Forked, Generate
from cellwire.v1.sessions_pb2_grpc import add_SessionsServiceServicer_to_server

from tests.client.fake.services import Models, Sessions, answer
from tests.client.fake.session import FakeSession, FakeStream
from tests.client.fake.text import ALPHABET, UNTRAINED, FakeText, Refused

if TYPE_CHECKING:
    _SessionContext = grpc.aio.ServicerContext[SessionRequest, SessionResponse]
    _Context = grpc.aio.ServicerContext[Any, Any]

_Response = TypeVar("_Response")


@dataclass
class FakeDaemon:
    """Set the fields before a call to script it; wait for the events to know where it is."""

    chunk_chars: int = 1
    pause_at: int | None = None
    """Generations stop after so many characters, until they are cancelled or may go on."""
    pause_search_at: int | None = None
    """Searches stop after so many partial results, likewise."""
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    continuations: list[str] = field(default_factory=list)
    """What searches find; if empty, the alphabet."""
    model_folder: bool = True
    models: list[models_pb2.Model] = field(default_factory=lambda: [ALPHABET, UNTRAINED])
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream or call has ended, for whatever reason."""
    log: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    sessions: dict[str, FakeSession] = field(default_factory=dict)
    written_chars: dict[str, int] = field(default_factory=dict)
    """By session id."""

    async def start(self) -> None:
        self._server = grpc.aio.server()
        add_GenerationServiceServicer_to_server(_Generation(self), self._server)
        add_ModelsServiceServicer_to_server(Models(self), self._server)
        add_SessionsServiceServicer_to_server(Sessions(self), self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        for session in list(self.sessions.values()):
            session.end()

    def add(self, text: FakeText) -> FakeSession:
        session = FakeSession(self, f"session {len(self.written_chars)}", text)
        self.sessions[session.id] = session
        return session

    def session(self, session_id: str) -> FakeSession:
        if session_id not in self.sessions:
            raise Refused(grpc.StatusCode.NOT_FOUND, "there is no such session")
        return self.sessions[session_id]

    def fork(self, session: FakeSession, seed: int | None) -> Forked:
        text = session.text.copy()
        return text.forking(self.add(text).id, seed)

    async def write(self, text: FakeText, message: Generate) -> AsyncIterator[Chunk]:
        planned = text.plan(message)
        while text.written < len(planned):
            if text.written == self.pause_at:
                self.paused.set()
                await self.go_on.wait()
            yield text.write(planned[text.written : text.written + self.chunk_chars], message)


class _Generation(GenerationServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    # It writes with context.write, which the stubs' types do not know.
    async def Session(  # type: ignore[override]  # noqa: N802  # the contract's name
        self, request_iterator: AsyncIterator[SessionRequest], context: _SessionContext
    ) -> None:
        requests = aiter(request_iterator)
        stream = FakeStream(context)
        session = None
        receiver = None
        try:
            first = await anext(requests)
            session = await self._begin(first, stream)
            receiver = asyncio.create_task(session.receive(requests))
            await stream.ended()
        except Refused as error:
            await context.abort(error.code, str(error))
        finally:
            if receiver is not None:
                receiver.cancel()
            stream.let_go()
            if session is not None:
                session.leave(stream)
            self._daemon.gone.set()

    async def Generate(  # noqa: N802  # the contract's name
        self, request: GenerateRequest, context: _Context
    ) -> AsyncIterator[GenerateResponse]:
        self._daemon.requests.append(request)
        try:
            text = FakeText(request.open)
            text.append(request.prompt)
            async for chunk in self._daemon.write(text, request.generate):
                yield GenerateResponse(chunk=chunk)
            yield GenerateResponse(finished=text.end())
        except Refused as error:
            await context.abort(error.code, str(error))
        finally:
            self._daemon.gone.set()

    async def Complete(  # noqa: N802  # the contract's name
        self, request: CompleteRequest, context: _Context
    ) -> CompleteResponse:
        def do() -> CompleteResponse:
            text = FakeText(request.open)
            text.append(request.prompt)
            *_, completed = text.search(request.complete, self._daemon.continuations)
            return CompleteResponse(completed=completed)

        return await self._do(request, context, do)

    async def Score(  # noqa: N802  # the contract's name
        self, request: ScoreRequest, context: _Context
    ) -> ScoreResponse:
        def do() -> ScoreResponse:
            text = FakeText(request.open)
            text.append(request.prompt)
            return ScoreResponse(scored=text.score(request.score))

        return await self._do(request, context, do)

    async def Classify(  # noqa: N802  # the contract's name
        self, request: ClassifyRequest, context: _Context
    ) -> ClassifyResponse:
        def do() -> ClassifyResponse:
            text = FakeText(request.open)
            text.append(request.text)
            return ClassifyResponse(classified=text.classify())

        return await self._do(request, context, do)

    async def _do(
        self, request: object, context: _Context, do: Callable[[], _Response]
    ) -> _Response:
        self._daemon.requests.append(request)
        return await answer(context, do)

    async def _begin(self, request: SessionRequest, stream: FakeStream) -> FakeSession:
        self._daemon.requests.append(request)
        if request.HasField("attach"):
            self._daemon.log.append("attach")
            session = self._daemon.session(request.attach.session_id)
            await session.attach(stream, request.operation_id, request.attach)
        else:
            session = self._daemon.add(FakeText(request.open))
            session.stream = stream
            await session.submit(request)
        return session
