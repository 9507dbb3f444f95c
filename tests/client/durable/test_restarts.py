"""A program with a durable session runs on while its daemon is killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from tests.client.durable.conftest import KilledDaemon

from cellwire import client
from cellwire.client import Client, ConnectionLost, ConnectionRestored, Durability

GUARD_S = 60
TOKENS = 20_000
Restart = Callable[[KilledDaemon], Coroutine[None, None, None]]
RESTARTS: tuple[Restart, ...] = (KilledDaemon.kill_and_start, KilledDaemon.end_and_start)


async def uninterrupted(daemon: Client, tokens: int) -> str:
    async with daemon.session(seed=7) as session:
        await session.append("ab")
        return await session.generate(max_tokens=tokens, seed=3).text()


@pytest.mark.parametrize("durability", [Durability.SAFE_LATER, Durability.SAFE_FIRST])
@pytest.mark.parametrize("restart", RESTARTS)
async def test_a_generation_goes_on(
    killed: KilledDaemon, durability: Durability, restart: Restart
) -> None:
    news: list[ConnectionLost | ConnectionRestored] = []
    reached: list[int] = []
    text = ""

    def hear(one: ConnectionLost | ConnectionRestored) -> None:
        news.append(one)
        reached.append(len(text))

    async with (
        asyncio.timeout(GUARD_S),
        client.connect(await killed.start(), on_reconnect=hear) as daemon,
    ):
        expected = await uninterrupted(daemon, TOKENS)
        async with daemon.session(seed=7, durability=durability) as session:
            await session.append("ab")
            restarting: asyncio.Task[None] | None = None
            async for piece in session.generate(max_tokens=TOKENS, seed=3):
                text += piece
                if restarting is None and len(text) > TOKENS // 10:
                    restarting = asyncio.create_task(restart(killed))
            assert restarting is not None
            await restarting
            assert text == expected
            assert session.offset == 2 + TOKENS
            assert (await session.save()).offset == 2 + TOKENS
            lost, restored = news
            assert isinstance(lost, ConnectionLost)
            assert lost.session_id == session.id
            assert isinstance(restored, ConnectionRestored)
            assert restored.pause_s > 0
            assert 0 < reached[0] <= reached[1] < TOKENS
        with pytest.raises(client.NotFound):
            await daemon.get_session(session.id)
