"""A program whose connection is cut anywhere does the same as one whose connection holds."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from tests.client.durable.conftest import KilledDaemon
from tests.client.durable.cutting_proxy import CuttingProxy
from tests.client.durable.program import program

from cellwire import client
from cellwire.client import Durability

pytestmark = pytest.mark.slow

GUARD_S = 60
SHORTEST, LONGEST = 300, 8_000  # bytes of a connection; an attach takes up to 4,000


@pytest.fixture
async def target(killed: KilledDaemon) -> str:
    return await killed.start()


async def through(target: str, seed: int, durability: Durability) -> list[object]:
    random = Random(seed)
    proxy = CuttingProxy(target, lambda: random.randint(SHORTEST, LONGEST))
    async with (
        client.connect(await proxy.start()) as daemon,
        daemon.session(seed=7, durability=durability) as session,
    ):
        told = await program(session, Random(seed))
    assert proxy.cuts > 0
    await proxy.stop()
    return told


@pytest.mark.parametrize("durability", [Durability.SAFE_LATER, Durability.SAFE_FIRST])
@pytest.mark.parametrize("seed", range(4))
async def test_a_connection_that_is_cut_anywhere(
    target: str, seed: int, durability: Durability
) -> None:
    async with asyncio.timeout(GUARD_S), client.connect(target) as daemon:
        async with daemon.session(seed=7) as session:
            expected = await program(session, Random(seed))
        assert await through(target, seed, durability) == expected
