"""A program whose connection is cut anywhere does the same as one whose connection holds."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from tests.client.durable.conftest import KilledDaemon
from tests.client.durable.cutting_proxy import CuttingProxy

from cellwire import client
from cellwire.client import CellwireError, Durability, Session
from cellwire.client.values import Forked

GUARD_S = 60
STEPS = 40
SHORTEST, LONGEST = 300, 8_000  # bytes of a connection; an attach takes up to 4,000


async def program(session: Session, random: Random) -> list[object]:
    """Carry out operations that are drawn; return all that they tell."""
    told: list[object] = []
    await session.append("ab" * 50)
    for _ in range(STEPS):
        match random.randrange(6):
            case 0:
                texts = ["abc"[: random.randint(1, 3)] for _ in range(random.randint(1, 20))]
                told += await asyncio.gather(*map(session.append, texts))
            case 1:
                generation = session.generate(max_tokens=random.randint(1, 2000), seed=3)
                told += [await generation.text(), generation.finished]
            case 2:
                told.append(await session.rewind(random.randint(0, 3)))
            case 3:
                told.append(await session.score("bca"))
            case 4:
                completed = await session.complete(max_tokens=5, completion_count=2)
                told += [completed, await session.accept(1, tokens=random.randint(0, 5) or None)]
            case _:
                told.append(await session.fork(seed=5))
        told.append(session.offset)
    told.append(await rejected(session))
    return [(one.seed, one.offset) if isinstance(one, Forked) else one for one in told]


async def rejected(session: Session) -> str:
    try:
        await session.append("\0")
    except CellwireError as error:
        return type(error).__name__
    return "nothing"


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
