"""Daemons that follow each other on one store, and stores that stop and fail as they are told."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from grpc import aio
from tests.server.rpc.conftest import Stream

from cellwire.server.errors import StoreFailed
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.writes import Write
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub

SESSION_ID = "0123456789abcdef0123456789abcdef"
LATER = "DURABILITY_SAFE_LATER"
FIRST = "DURABILITY_SAFE_FIRST"


class LastingStore(MemoryStore):
    """Outlives the daemons that use it. Its commits stop while it is shut, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.opened.set()
        self.failure: StoreFailed | None = None
        self.writes: list[Write] = []

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes, when the store is open; StoreFailed if it is to fail."""
        self.opened.wait()
        if self.failure is not None:
            raise self.failure
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
        options["open_store"] = lambda _: store
    async with Daemon(replace(config, listen="127.0.0.1:0"), **options) as daemon:
        async with aio.insecure_channel(daemon.address) as channel:
            yield daemon, channel
        assert not daemon.crashed.done()


def stream_to(channel: aio.Channel) -> Stream:
    return Stream(GenerationServiceStub(channel).StreamSession())
