"""Daemons that share a store in one process, whose leases go by a clock that the test moves."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, Stream, until
from tests.server.rpc.durable import SESSION_ID, Clock, session_of, stream_to

from cellwire.server.errors import StoreFailed
from cellwire.server.host import stored_sessions
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.memory_leases import SharedMemory
from cellwire.v1.generation_pb2 import StreamSessionResponse

LEASE_S = 0.3


class Paused:
    """Lets a daemon's store stop, as all of the daemon does that is paused, or fail."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.failure: StoreFailed | None = None
        self.silent = False  # whether the daemon's messages are lost

    def pause(self) -> None:
        """Stop everything in which the store takes part."""
        self.goes_on.clear()

    def resume(self) -> None:
        self.goes_on.set()

    def around(self, opened: OpenedStore) -> OpenedStore:
        """Return the same store and leases, which stop and fail as told."""
        store: Any = _Gated(opened.store, self)
        leases: Any = _Gated(opened.leases, self)
        return OpenedStore(store, leases)


class _Gated:
    def __init__(self, inner: object, paused: Paused) -> None:
        self._inner = inner
        self._paused = paused

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # of any kind
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: object) -> Any:  # noqa: ANN401
            result = None
            if name == "receive":  # what came meanwhile is read when the daemon goes on
                result = value(*arguments)
            self._paused.goes_on.wait(GUARD_S)
            if self._paused.failure is not None and name != "resign":
                raise self._paused.failure
            if name == "send" and self._paused.silent:
                return True
            return result if name == "receive" else value(*arguments)

        return call


@dataclass
class Node(Paused):
    """A daemon, and a channel to it."""

    cluster: Cluster
    daemon: Daemon = field(init=False)
    channel: aio.Channel = field(init=False)
    opened: OpenedStore = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def open(self, _: Config) -> OpenedStore:
        self.opened = self.cluster.shared.open()
        return self.around(self.opened)

    @property
    def daemon_id(self) -> str:
        assert self.opened.leases is not None
        return self.opened.leases.daemon_id

    def has(self, session_id: str = SESSION_ID) -> bool:
        """Whether a session is in its process."""
        return session_id in self.daemon.sessions


class Cluster:
    """A store, and the daemons on it."""

    def __init__(self) -> None:
        self.clock = Clock()  # of the store's server, and of the daemons' machines
        self.shared = SharedMemory(self.clock, LEASE_S)

    @asynccontextmanager
    async def serving(self, config: Config) -> AsyncIterator[Node]:
        """Run one more daemon."""
        node = Node(self)
        async with Daemon(replace(config, listen="127.0.0.1:0"), open_store=node.open) as daemon:
            node.daemon = daemon
            async with aio.insecure_channel(daemon.address) as channel:
                node.channel = channel
                try:
                    yield node
                finally:
                    node.resume()
                await daemon.stop()
            assert not daemon.crashed.done()
            assert daemon.sessions.memory.used_bytes == 0

    def holder(self, session_id: str = SESSION_ID) -> str:
        """Return the id of the daemon that holds a session; "" if none does."""
        return self.shared.held[session_id].daemon_id

    def run_out(self) -> None:
        """Let all leases run out; those daemons that are not paused renew theirs."""
        self.clock.now_s += LEASE_S


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(stored_sessions, "monotonic", cluster.clock)
    return cluster


@asynccontextmanager
async def two(cluster: Cluster, config: Config) -> AsyncIterator[tuple[Node, Node]]:
    """Run two daemons."""
    async with cluster.serving(config) as first, cluster.serving(config) as second:
        yield first, second


async def close_and_keep(stream: Stream) -> None:
    await stream.send(99, close={"keep": True})
    await stream.until("closed")


async def free(node: Node, session_id: str = SESSION_ID) -> None:
    """Wait until a session has no client."""
    await until(lambda: session_of(node.daemon, session_id).attachment is None)


async def status_of_attach(
    channel: aio.Channel, session_id: str = SESSION_ID, **settings: object
) -> tuple[grpc.StatusCode, str]:
    stream = stream_to(channel)
    await stream.send(attach={"session_id": session_id, **settings})
    return await stream.end()


async def first_answer(stream: Stream) -> StreamSessionResponse | None:
    """Return the first answer; None if the stream ends instead."""
    try:
        return await stream.receive()
    except (AssertionError, aio.AioRpcError):
        return None
