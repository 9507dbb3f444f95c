"""Calls through a proxy, each with the metadata that it routes by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
from grpc import aio
from tests.crash.stream import Lost, Stream

from cellwire.v1 import models_pb2, sessions_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.operations_pb2 import Append, Generate
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub
    from cellwire.v1.models_pb2_grpc import ModelsServiceAsyncStub
    from cellwire.v1.sessions_pb2_grpc import SessionsServiceAsyncStub

_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 2**20),
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel
    ("grpc.max_reconnect_backoff_ms", 50),
]


class Front:
    """A connection to a proxy, or to a daemon."""

    def __init__(self, channel: aio.Channel) -> None:
        self.generation: GenerationServiceAsyncStub = GenerationServiceStub(channel)
        self.models: ModelsServiceAsyncStub = ModelsServiceStub(channel)
        self.sessions: SessionsServiceAsyncStub = SessionsServiceStub(channel)

    async def where(self, session_id: str | None) -> str:
        """Return the name of the daemon that calls of this session reach."""
        request = models_pb2.ListModelsRequest()
        response = await self.models.ListModels(request, metadata=routed(session_id))
        return next(model.name for model in response.models if model.name.startswith("daemon"))

    async def delete(self, session_id: str) -> None:
        request = sessions_pb2.DeleteSessionRequest(session_id=session_id)
        await self.sessions.DeleteSession(request, metadata=routed(session_id))

    async def whereabouts(self, session_ids: Iterable[str]) -> dict[str, str]:
        return {session_id: await self.where(session_id) for session_id in session_ids}

    def stream(self, session_id: str | None = None) -> RoutedStream:
        return RoutedStream(self, session_id)

    async def has(self, session_id: str) -> bool:
        """Whether calls of this session find it where they arrive."""
        request = sessions_pb2.GetSessionRequest(session_id=session_id)
        try:
            await self.sessions.GetSession(request, metadata=routed(session_id))
        except aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True


class RoutedStream(Stream):
    """A session's stream, with its id as metadata."""

    def __init__(self, front: Front, session_id: str | None) -> None:
        self._call = front.generation.StreamSession(metadata=routed(session_id))
        self.session_id = session_id

    async def begin(self, **arguments: object) -> str:
        """Open the session; return its id."""
        return (await self.open(session_id=self.session_id, **arguments)).opened.session_id

    async def append(self, text: str) -> None:
        await self.ask(StreamSessionRequest(operation_id=2, append=Append(text=text)))

    async def generate_without_end(self) -> None:
        """Let text stream, and wait for the first of it."""
        await self.append("hello")
        generate = Generate(max_tokens=1_000_000)
        await self.send(StreamSessionRequest(operation_id=3, generate=generate))
        await self.receive()

    async def end(self) -> Lost:
        """Read until the stream ends."""
        try:
            while True:
                await self.receive()
        except Lost as lost:
            return lost


def routed(session_id: str | None) -> tuple[tuple[str, str], ...]:
    return (("x-session-id", session_id),) if session_id else ()


@asynccontextmanager
async def front(address: str) -> AsyncIterator[Front]:
    async with aio.insecure_channel(address, options=_OPTIONS) as channel:
        yield Front(channel)
