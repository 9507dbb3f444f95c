"""A program with a durable session runs on while its session moves from one daemon to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.client.durable.cutting_proxy import CuttingProxy
from tests.end_to_end.conftest import Served, served
from tests.server.store.redis_server import RedisServer

from cellwire import client
from cellwire.client import Durability

GUARD_S = 60
TOKENS = 20_000
NEVER = 2**62  # bytes


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="always").start()
    yield server
    server.kill()


@pytest.fixture
def daemons(model: Path, redis_server: RedisServer) -> Iterator[list[Served]]:
    arguments = ("--model", str(model), "--threads", "1", "--lease-s", "0.5")
    with ExitStack() as stack:
        yield [
            stack.enter_context(served(*arguments, "--state", redis_server.url)) for _ in range(2)
        ]


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("durability", [Durability.SAFE_LATER, Durability.SAFE_FIRST])
async def test_a_generation_goes_on_at_another_daemon(
    daemons: list[Served],
    durability: Durability,
    killed: bool,  # noqa: FBT001  # a parameter
) -> None:
    first, second = daemons
    proxy = CuttingProxy(first.address, lambda: NEVER)
    async with asyncio.timeout(GUARD_S), client.connect(await proxy.start()) as daemon:
        async with daemon.session(seed=7) as session:
            await session.append("ab")
            expected = await session.generate(max_tokens=TOKENS, seed=3).text()
        async with daemon.session(seed=7, durability=durability) as session:
            await session.append("ab")
            text = ""
            async for piece in session.generate(max_tokens=TOKENS, seed=3):
                if not text:
                    proxy.move(second.address)
                    if killed:
                        first.process.kill()
                text += piece
            assert text == expected
    await proxy.stop()
