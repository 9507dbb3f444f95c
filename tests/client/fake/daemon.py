"""A daemon that follows the contract as far as a client can see, and that tests can script."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from tests.client.fake.models import MODELS
from tests.client.fake.refused import Refused
from tests.client.fake.services import Models, Sessions, answer
from tests.client.fake.session import FakeSession
from tests.client.fake.stream import FakeStream
from tests.client.fake.text import FakeText

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
    StreamSessionRequest,
    StreamSessionResponse,
)
from cellwire.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from cellwire.v1.models_pb2_grpc import add_ModelsServiceServicer_to_server
from cellwire.v1.operations_pb2 import Chunk, Generate, Open
from cellwire.v1.sessions_pb2_grpc import add_SessionsServiceServicer_to_server

if TYPE_CHECKING:
    _SessionContext = grpc.aio.ServicerContext[StreamSessionRequest, StreamSessionResponse]
    _Context = grpc.aio.ServicerContext[Any, Any]

_Response = TypeVar("_Response")


@dataclass
class FakeDaemon:
    """Set the fields before a call to script it; wait for the events to follow it."""

    chunk_tokens: int = 1
    pause_at: int | None = None
    """Generations pause after this many tokens, until they are cancelled or `go_on` is set."""
    pause_search_at: int | None = None
    """Searches pause after this many partial results, likewise."""
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    continuations: list[str] = field(default_factory=list)
    """What searches find; if empty, the alphabet."""
    refusal: Refused | None = None
    """Refuse every call, and every operation but open and close."""
    opening_refusal: Refused | None = None
    """Refuse every open and attach."""
    opening_refusals: list[Refused] = field(default_factory=list)
    """Refuse so many opens and attaches, one after the other."""
    lost_answers: int = 0
    """Carry so many opens and attaches out, and break their streams before they are answered."""
    saves: bool = True
    """Whether changes of durable sessions become safe."""
    session_ids: list[tuple[str, str]] = field(default_factory=list)
    """The calls about sessions, each with the session that its metadata names."""
    model_folder: bool = True
    page_size: int = 100
    """How many models a page has."""
    models: list[models_pb2.Model] = field(default_factory=lambda: list(MODELS))
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream or call has ended."""
    log: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    sessions: dict[str, FakeSession] = field(default_factory=dict)
    generated_tokens: dict[str, int] = field(default_factory=dict)
    """By session id."""

    async def start(self, address: str = "127.0.0.1:0") -> None:
        self._server = grpc.aio.server()
        add_GenerationServiceServicer_to_server(_Generation(self), self._server)
        add_ModelsServiceServicer_to_server(Models(self), self._server)
        add_SessionsServiceServicer_to_server(Sessions(self), self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port(address)}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        for session in list(self.sessions.values()):
            session.end()

    def restart(self) -> None:
        """Go on as after a restart: durable sessions are there, and nothing runs in them."""
        for session in list(self.sessions.values()):
            if session.text.durable:
                session.restart()
            else:
                session.end()

    def note_call(self, name: str, context: _Context) -> None:
        named = dict(context.invocation_metadata() or ())
        self.session_ids.append((name, str(named.get("x-session-id", ""))))

    def sent(self, kind: str) -> Any:  # noqa: ANN401  # messages have no common type
        """Return the last operation of a kind that was sent on a stream."""
        requests = [one for one in self.requests if one.WhichOneof("operation") == kind]
        return getattr(requests[-1], kind)

    def add(self, text: FakeText, session_id: str = "") -> FakeSession:
        if session_id in self.sessions:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"there is a session {session_id!r}")
        session = FakeSession(self, session_id or secrets.token_hex(16), text)
        self.sessions[session.id] = session
        return session

    def session(self, session_id: str) -> FakeSession:
        if session_id not in self.sessions:
            raise Refused(
                grpc.StatusCode.NOT_FOUND,
                f"there is no session {session_id!r}; it may have ended meanwhile",
            )
        return self.sessions[session_id]

    def fork(self, session: FakeSession, seed: int | None, session_id: str = "") -> FakeSession:
        text = session.text.copy()
        copy = self.add(text, session_id)
        text.forking(copy.id, seed)
        return copy

    def text(self, opened: Open) -> FakeText:
        return FakeText(opened, self.models)

    async def write(self, text: FakeText, message: Generate) -> AsyncIterator[Chunk]:
        planned = text.plan(message)
        while text.generated < len(planned):
            if text.generated == self.pause_at:
                self.paused.set()
                await self.go_on.wait()
            yield text.write(planned[text.generated : text.generated + self.chunk_tokens], message)


class _Generation(GenerationServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    # It writes with context.write, which the stubs' types do not know.
    async def StreamSession(  # type: ignore[override]  # noqa: N802  # the contract's name
        self, request_iterator: AsyncIterator[StreamSessionRequest], context: _SessionContext
    ) -> None:
        requests = aiter(request_iterator)
        stream = FakeStream(context)
        session = None
        receiver = None
        try:
            first = await anext(requests)
            self._daemon.note_call("StreamSession", context)
            session = await self._begin(first, stream)
            receiver = asyncio.create_task(session.receive(requests))
            await stream.ended()
        except Refused as error:
            await error.abort(context)
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
            if self._daemon.refusal is not None:
                raise self._daemon.refusal
            text = self._daemon.text(request.open)
            text.append(request.prompt)
            async for chunk in self._daemon.write(text, request.generate):
                yield GenerateResponse(chunk=chunk)
            yield GenerateResponse(finished=text.end())
        except Refused as error:
            await error.abort(context)
        finally:
            self._daemon.gone.set()

    async def Complete(  # noqa: N802  # the contract's name
        self, request: CompleteRequest, context: _Context
    ) -> CompleteResponse:
        def do() -> CompleteResponse:
            text = self._daemon.text(request.open)
            text.append(request.prompt)
            *_, completed = text.search(request.complete, self._daemon.continuations)
            return CompleteResponse(completed=completed)

        return await self._do(request, context, do)

    async def Score(  # noqa: N802  # the contract's name
        self, request: ScoreRequest, context: _Context
    ) -> ScoreResponse:
        def do() -> ScoreResponse:
            text = self._daemon.text(request.open)
            if request.HasField("prompt"):
                text.append(request.prompt)
            return ScoreResponse(scored=text.score(request.score))

        return await self._do(request, context, do)

    async def Classify(  # noqa: N802  # the contract's name
        self, request: ClassifyRequest, context: _Context
    ) -> ClassifyResponse:
        def do() -> ClassifyResponse:
            text = self._daemon.text(request.open)
            text.append(request.prompt)
            return ClassifyResponse(classified=text.classify())

        return await self._do(request, context, do)

    async def _do(
        self, request: object, context: _Context, do: Callable[[], _Response]
    ) -> _Response:
        self._daemon.requests.append(request)

        def do_unless_refused() -> _Response:
            if self._daemon.refusal is not None:
                raise self._daemon.refusal
            return do()

        return await answer(context, do_unless_refused)

    async def _begin(self, request: StreamSessionRequest, stream: FakeStream) -> FakeSession:
        self._daemon.requests.append(request)
        if self._daemon.opening_refusal is not None:
            raise self._daemon.opening_refusal
        if self._daemon.opening_refusals:
            raise self._daemon.opening_refusals.pop(0)
        if request.HasField("attach"):
            self._daemon.log.append("attach")
            session = self._daemon.session(request.attach.session_id)
            await session.attach(stream, request.operation_id, request.attach)
        else:
            session = self._daemon.add(self._daemon.text(request.open), request.open.session_id)
            session.stream = stream
            await session.submit(request)
        if self._daemon.lost_answers:
            self._daemon.lost_answers -= 1
            stream.break_off(grpc.StatusCode.UNAVAILABLE, "the connection is lost")
        return session
