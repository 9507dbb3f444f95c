"""A program returns to its checkpoints while its daemon is killed and started again."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.durable.conftest import KilledDaemon

from cellwire import client
from cellwire.client import Durability

GUARD_S = 60
ROUNDS = 3


@pytest.mark.parametrize("durability", [Durability.SAFE_LATER, Durability.SAFE_FIRST])
async def test_a_session_returns_over_deaths_of_its_daemon(
    killed: KilledDaemon, durability: Durability
) -> None:
    async with (
        asyncio.timeout(GUARD_S),
        client.connect(await killed.start()) as daemon,
        daemon.session(seed=7, durability=durability, rewind_window=10) as session,
    ):
        await session.append("ab")
        assert await session.checkpoint("a") == client.Checkpointed("a", 2)
        from_a = await session.generate(max_tokens=3_000).text()
        await session.checkpoint("b")
        from_b = await session.generate(max_tokens=50).text()
        for _ in range(ROUNDS):
            killing = asyncio.create_task(killed.kill_and_start())
            assert (await session.restore("a")).offset == session.offset == 2
            text = await session.generate(max_tokens=3_000).text()
            assert text == from_a
            await killing
            assert (await session.restore("b")).offset == 3_002
            assert await session.generate(max_tokens=50).text() == from_b
        kept = (await daemon.get_session(session.id)).checkpoints
        assert kept == (client.NamedCheckpoint("a", 2), client.NamedCheckpoint("b", 3_002))
        assert await session.discard_checkpoint("a") == client.Discarded("a")
        with pytest.raises(client.NotFound, match="it has 'b'"):
            await session.restore("a")
