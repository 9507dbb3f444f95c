"""Daemons that follow each other on one store, and stores that stop and fail as they are told."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from grpc import aio
from tests.server.rpc.conftest import GUARD_S, Stream

from cellwire.server.errors import CellwireError, StoreFailed
from cellwire.server.host.config import Config
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Write
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub

SESSION_ID = "0123456789abcdef0123456789abcdef"
LATER = "DURABILITY_SAFE_LATER"
FIRST = "DURABILITY_SAFE_FIRST"
PROMPT = "hello world "


class LastingStore(MemoryStore):
    """Outlives the daemons that use it. Its commits stop while it is shut, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.failure: StoreFailed | None = None
        self.refused: dict[str, CellwireError] = {}
        self.writes: list[Write] = []

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes when the store is open, unless it is to fail or refuses a session."""
        self.open.wait(GUARD_S)
        if self.failure is not None:
            raise self.failure
        for write in writes:
            if write.session_id in self.refused:
                raise RefusedWrite(write.session_id, self.refused[write.session_id])
        super().commit(writes)
        self.writes += writes

    def close(self) -> None:
        """Keep the sessions."""


class Clock:
    """A wall clock that stands."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@asynccontextmanager
async def serving(
    config: Config,
    store: LastingStore | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[tuple[Daemon, aio.Channel]]:
    """Run a daemon on a store, or on that of its configuration; with a channel to it."""
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    if store is not None:
        options["open_store"] = lambda _: OpenedStore(store)
    async with Daemon(replace(config, listen="127.0.0.1:0"), **options) as daemon:
        async with aio.insecure_channel(daemon.address) as channel:
            yield daemon, channel
            await daemon.stop()
        assert not daemon.crashed.done()
        assert daemon.sessions.memory.used_bytes == 0


def stream_to(channel: aio.Channel) -> Stream:
    return Stream(GenerationServiceStub(channel).StreamSession())


async def begin(
    channel: aio.Channel,
    durability: str | None = LATER,
    session_id: str = SESSION_ID,
    text: str = PROMPT,
    **settings: Any,  # noqa: ANN401
) -> Stream:
    """Open a session, and append a text to it."""
    stream = stream_to(channel)
    await stream.send(
        open={"seed": 7, "session_id": session_id, "durability": durability, **settings}
    )
    assert (await answer(stream)).opened.session_id == session_id
    if text:
        await stream.send(1, append={"text": text})
        assert (await answer(stream)).appended.offset == len(text)
    return stream


async def attach(
    channel: aio.Channel, session_id: str = SESSION_ID, **settings: object
) -> tuple[Stream, StreamSessionResponse]:
    """Attach to a session; return the answer, too."""
    stream = stream_to(channel)
    await stream.send(attach={"session_id": session_id, **settings})
    return stream, await stream.receive()


async def answer(stream: Stream) -> StreamSessionResponse:
    """Return the next answer to an operation."""
    while (response := await stream.receive()).WhichOneof("answer") == "saved":
        pass
    return response


async def safe_at(stream: Stream, revision: int) -> StreamSessionResponse:
    """Read until an answer says that a revision is safe."""
    while (response := await stream.receive()).safe.revision < revision:
        pass
    return response


def stored_of(daemon: Daemon) -> StoredSessions:
    assert daemon.sessions.stored is not None
    return daemon.sessions.stored


def session_of(daemon: Daemon, session_id: str = SESSION_ID) -> DurableSession:
    session = daemon.sessions.find(session_id)
    assert isinstance(session, DurableSession)
    return session
