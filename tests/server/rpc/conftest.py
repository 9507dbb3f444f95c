"""A daemon on a real socket, and streams without the Python client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.engine.engine import Engine
from cellwire.server.host.config import Config
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.session.operation_queue import Limits
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.sessions_pb2 import GetSessionRequest, Session
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

CAPACITY = 60
GUARD_S = 30
# Without these gRPC widens its window until some megabytes lie unread, which takes a while.
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 4096)]


class Stream:
    """One StreamSession call, message by message."""

    def __init__(self, call: Any) -> None:  # noqa: ANN401  # grpc.aio's calls have no public type
        self.call = call

    async def send(self, operation_id: int = 0, **operation: object) -> None:
        await self.call.write(StreamSessionRequest(operation_id=operation_id, **operation))  # type: ignore[arg-type]

    async def receive(self) -> StreamSessionResponse:
        response = await self.call.read()
        assert isinstance(response, StreamSessionResponse), await self.call.details()
        return response

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """Read to the end; the status follows the last message."""
        with suppress(aio.AioRpcError):
            while await self.call.read() is not aio.EOF:
                pass
        return await self.call.code(), await self.call.details()

    async def until(self, answer: str) -> list[StreamSessionResponse]:
        """Read up to and including the first such answer."""
        responses = [await self.receive()]
        while responses[-1].WhichOneof("answer") != answer:
            responses.append(await self.receive())
        return responses

    async def ask(self, **operation: object) -> StreamSessionResponse:
        """Send an operation that has one answer, and return the answer."""
        await self.send(1, **operation)
        return await self.receive()

    async def open(self, **arguments: object) -> StreamSessionResponse:
        await self.send(open=arguments)
        return await self.receive()

    async def generated(self, operation_id: int, max_tokens: int, **arguments: object) -> str:
        await self.send(operation_id, generate={"max_tokens": max_tokens, **arguments})
        return text_of(await self.until("finished"))


def text_of(responses: list[StreamSessionResponse]) -> str:
    return "".join(response.chunk.text for response in responses)


OpenStream = Callable[[], Stream]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(16))


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Daemon]:
    """Run a daemon, and check that it leaves nothing behind."""
    async with Daemon(config) as daemon:
        yield daemon
        assert not daemon.crashed.done()
        daemon.generation.drain()
        async with asyncio.timeout(GUARD_S):
            await daemon.sessions.drained()
        assert len(daemon.sessions) == 0
        assert daemon.sessions.memory.used_bytes == 0
        assert not timers_of_sessions()
        for model in () if daemon._stopped else daemon.registry:
            assert await answer_of(model, Engine.check_integrity) is None
            assert await answer_of(model, lambda engine: engine.stats().sessions) == 0


async def answer_of(model: ServedModel, question: Callable[[Engine], Any]) -> Any:  # noqa: ANN401
    """Call a function in the thread of a model's engine; return its result."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def ask(engine: Engine) -> None:
        loop.call_soon_threadsafe(answer.set_result, question(engine))

    model.loop.call(ask)
    return await answer


def timers_of_sessions() -> list[asyncio.TimerHandle]:
    """Return the timers of sessions, which keep them and their models in memory."""
    timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    owners = ((t, getattr(t._callback, "__self__", None)) for t in timers if not t.cancelled())  # type: ignore[attr-defined]
    return [timer for timer, owner in owners if isinstance(owner, SessionHandle)]


async def described(channel: aio.Channel, session_id: str) -> Session:
    request = GetSessionRequest(session_id=session_id)
    return (await SessionsServiceStub(channel).GetSession(request)).session


async def is_there(channel: aio.Channel, session_id: str) -> bool:
    try:
        return bool(await described(channel, session_id))
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return False
        raise


async def detach(channel: aio.Channel, session_id: str) -> None:
    """Wait until the daemon has no stream attached to the session."""
    async with asyncio.timeout(GUARD_S):
        while (await described(channel, session_id)).attached:
            pass


async def idle(daemon: Daemon) -> None:
    """Wait until no session of the daemon's model can take a step."""
    model = next(iter(daemon.registry))
    while not await answer_of(model, lambda engine: engine.idle):
        pass


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds that no event reports."""
    async with asyncio.timeout(GUARD_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


@contextmanager
def holding_up(model: ServedModel) -> Iterator[None]:
    """Hold the thread of a model's engine meanwhile."""
    go_on = threading.Event()

    def wait(_: Engine) -> None:
        go_on.wait(GUARD_S)

    assert not model.loop.call(wait).cancelled()
    try:
        yield
    finally:
        go_on.set()


@pytest.fixture
async def daemon(model: Path) -> AsyncIterator[Daemon]:
    config = Config(
        listen="127.0.0.1:0",
        models=(model,),
        sessions=CAPACITY,
        threads=1,
        drain_timeout_s=5,
        limits=Limits(read_ahead_tokens=200),
    )
    async with running(config) as daemon:
        yield daemon


@pytest.fixture
async def channel(daemon: Daemon) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(daemon.address) as channel:
        yield channel


@pytest.fixture
async def narrow_stream(daemon: Daemon) -> AsyncIterator[OpenStream]:
    """Streams whose daemon soon waits in a write if the client does not read."""
    async with aio.insecure_channel(daemon.address, options=NARROW) as channel:
        stub = GenerationServiceStub(channel)
        yield lambda: Stream(stub.StreamSession())


@pytest.fixture
async def open_stream(channel: aio.Channel) -> OpenStream:
    stub = GenerationServiceStub(channel)
    return lambda: Stream(stub.StreamSession())
