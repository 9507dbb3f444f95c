"""A program with a durable session runs on while its daemon is killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random

import pytest
from tests.client.durable.conftest import KilledDaemon
from tests.client.durable.program import STEPS, program

from cellwire import client
from cellwire.client import Client, ConnectionLost, ConnectionRestored, Durability, sync

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("durability", [Durability.SAFE_LATER, Durability.SAFE_FIRST])
@pytest.mark.parametrize("seed", range(2))
async def test_a_program_goes_on(killed: KilledDaemon, durability: Durability, seed: int) -> None:
    """Now and then the daemon is killed in the middle of what it does."""
    random = Random(seed)
    restarts = set(random.sample(range(STEPS), 4))
    running: list[asyncio.Task[None]] = []

    async def restart() -> None:
        await asyncio.gather(*running[:-1])
        await killed.kill_and_start()

    def before(step: int) -> None:
        if step in restarts:
            running.append(asyncio.create_task(restart()))

    async with asyncio.timeout(GUARD_S), client.connect(await killed.start()) as daemon:
        async with daemon.session(seed=7) as session:
            expected = await program(session, Random(seed))
        async with daemon.session(seed=7, durability=durability) as session:
            told = await program(session, Random(seed), before)
            await asyncio.gather(*running)
            assert told == expected


def generated(session: sync.Session, restart: Callable[[], object]) -> str:
    session.append("ab")
    text = ""
    for piece in session.generate(max_tokens=TOKENS, seed=3):
        if not text:
            restart()
        text += piece
    return text


async def test_a_program_without_an_event_loop_goes_on(killed: KilledDaemon) -> None:
    news: list[ConnectionLost | ConnectionRestored] = []
    target, loop = await killed.start(), asyncio.get_running_loop()

    def restart() -> None:
        asyncio.run_coroutine_threadsafe(killed.kill_and_start(), loop).result(GUARD_S)

    def run() -> None:
        with sync.connect(target, on_reconnect=news.append) as daemon:
            with daemon.session(seed=7) as session:
                expected = generated(session, lambda: None)
            with daemon.session(seed=7, durability=Durability.SAFE_LATER) as session:
                assert generated(session, restart) == expected
                assert session.save().offset == 2 + TOKENS
                assert session.safe is not None
                assert session.safe.offset == 2 + TOKENS

    await asyncio.to_thread(run)
    assert [type(one) for one in news] == [ConnectionLost, ConnectionRestored]
