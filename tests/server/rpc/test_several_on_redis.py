"""Several daemons on a Redis server: what holds in memory, with real leases and messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import described, is_there, until
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    PROMPT,
    SESSION_ID,
    answer,
    attach,
    begin,
    safe_at,
    serving,
    session_of,
    stored_of,
    stream_to,
)
from tests.server.rpc.several import Paused, close_and_keep, first_answer
from tests.server.store.conftest import redis_server, running_redis
from tests.server.store.redis_server import RedisServer

from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.store.leases import OpenedStore

__all__ = ["redis_server", "running_redis"]

LEASE_S = 0.6


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@dataclass
class Node:
    """A daemon, and a channel to it."""

    server: RedisServer
    store: Paused = field(default_factory=Paused)
    daemon: Daemon = field(init=False)
    channel: aio.Channel = field(init=False)

    def open(self, _: Config) -> OpenedStore:
        return self.store.around(self.server.open(lease_s=LEASE_S))


@asynccontextmanager
async def nodes(server: RedisServer, config: Config, count: int = 2) -> AsyncIterator[list[Node]]:
    """Run daemons on one server."""
    async with AsyncExitStack() as stack:
        all_nodes = [Node(server) for _ in range(count)]
        for node in all_nodes:
            daemon = Daemon(replace(config, listen="127.0.0.1:0"), open_store=node.open)
            node.daemon = await stack.enter_async_context(daemon)
            channel = aio.insecure_channel(node.daemon.address)
            node.channel = await stack.enter_async_context(channel)
        try:
            yield all_nodes
        finally:
            for node in all_nodes:
                node.store.resume()
        for node in all_nodes:
            await node.daemon.stop()
            assert not node.daemon.crashed.done()


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_session_goes_from_daemon_to_daemon(
    config: Config, redis_server: RedisServer, durability: str
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 180)
    async with nodes(redis_server, config, 3) as all_nodes:
        stream, text = await begin(all_nodes[0].channel, durability), ""
        for number, node in enumerate(all_nodes * 3, 2):
            if text:
                before = stream
                stream, attached = await attach(node.channel, offset=0, takeover=True)
                assert attached.attached.missed.text == PROMPT + text
                assert (await before.end())[0] is grpc.StatusCode.ABORTED
            text += await stream.generated(number, 20)
        assert text == expected


async def test_a_generate_goes_on_where_its_daemon_was_paused(
    config: Config, redis_server: RedisServer
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 2_000)
    async with nodes(redis_server, config) as (first, second):
        stale = await begin(first.channel)
        await stale.send(2, generate={"max_tokens": 2_000})
        seen = await stale.until("chunk")
        first.store.pause()
        again, attached = await attach(second.channel, offset=len(PROMPT), takeover=True)
        text = attached.attached.missed.text
        assert len(PROMPT + text) >= seen[-1].safe.offset
        text += await again.generated(2, 2_000, start_offset=len(PROMPT))
        assert text == expected
        first.store.resume()
        assert (await stale.end())[0] is grpc.StatusCode.ABORTED
        await until(lambda: SESSION_ID not in first.daemon.sessions)


async def test_many_ask_at_once(config: Config, redis_server: RedisServer) -> None:
    async with nodes(redis_server, config, 3) as all_nodes:
        await close_and_keep(await begin(all_nodes[0].channel))
        found = await asyncio.gather(*(described(n.channel, SESSION_ID) for n in all_nodes * 5))
        assert {session.offset for session in found} == {len(PROMPT)}
        streams = [stream_to(node.channel) for node in all_nodes * 2]
        for stream in streams:
            await stream.send(attach={"session_id": SESSION_ID, "takeover": True})
        ends = [asyncio.create_task(stream.end()) for stream in streams]
        await until(lambda: sum(end.done() for end in ends) == 5)
        await until(lambda: sum(SESSION_ID in n.daemon.sessions for n in all_nodes) == 1)
        for end in ends:
            end.cancel()


async def test_two_daemons_open_one_id_at_once(config: Config, redis_server: RedisServer) -> None:
    async with nodes(redis_server, config) as both:
        for number in range(10):
            streams = [stream_to(node.channel) for node in both]
            for stream in streams:
                await stream.send(open={"session_id": f"{number:032x}", "durability": LATER})
            opened = await asyncio.gather(*map(first_answer, streams))
            won, lost = streams if opened[0] else streams[::-1]
            assert [bool(answer) for answer in opened].count(True) == 1
            assert (await lost.end())[0] is grpc.StatusCode.ALREADY_EXISTS
            await won.send(1, append={"text": PROMPT})
            assert (await answer(won)).appended.offset == len(PROMPT)


async def test_sessions_go_on_over_a_restart_of_the_server(
    config: Config, redis_server: RedisServer
) -> None:
    async with nodes(redis_server, config) as (first, second):
        stream = await begin(first.channel)
        await stream.send(2, save={})
        await stream.until("saved")
        redis_server.kill()
        text = await stream.generated(3, 50)
        redis_server.start()
        await stream.send(4, append={"text": "and on"})
        appended = await answer(stream)
        await safe_at(stream, appended.revision)
        again, attached = await attach(second.channel, offset=0, takeover=True)
        assert attached.attached.missed.text == PROMPT + text + "and on"
        assert len(await again.generated(5, 10)) == 10


async def test_what_a_daemon_leaves_is_there_at_once(
    config: Config, redis_server: RedisServer
) -> None:
    async with nodes(redis_server, config) as (first, second):
        stream = await begin(first.channel)
        await first.daemon.stop()
        assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE
        begun_s = time.monotonic()
        _, attached = await attach(second.channel)
        assert time.monotonic() - begun_s < LEASE_S
        assert attached.attached.offset == len(PROMPT)


async def test_a_session_is_deleted_and_swept_from_anywhere(
    config: Config, redis_server: RedisServer
) -> None:
    async with nodes(redis_server, config) as (first, second):
        await close_and_keep(await begin(first.channel, idle_timeout={"seconds": 1}))
        await until(lambda: session_of(first.daemon).attachment is None)
        stored_of(second.daemon).clock = lambda: time.time() + 10_000
        await second.daemon.sweep.sweep()
        assert await is_there(first.channel, SESSION_ID)
        session_of(first.daemon).leave()
        await until(lambda: SESSION_ID not in first.daemon.sessions)
        await stored_of(first.daemon).flushed()
        await second.daemon.sweep.sweep()
        await stored_of(second.daemon).flushed()
        assert not await is_there(first.channel, SESSION_ID)
