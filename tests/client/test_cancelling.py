"""Ending operations, sessions and clients early."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import Client, FinishReason

GUARD_S = 20
ENDLESS = 1_000_000


async def test_cancel_ends_a_generation_and_keeps_the_session(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=ENDLESS)
        pieces = aiter(generation)
        text = await anext(pieces)
        generation.cancel()
        text += "".join([piece async for piece in pieces])
        assert text == letters("a", len(text))
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.CANCELLED
        assert generation.finished.offset == session.offset == 1 + len(text)
        assert await session.generate(max_tokens=2).text() == letters(text[-1], 2)


async def test_cancel_is_sent_once_and_loses_no_text(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 3
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=100)
        reading = asyncio.create_task(generation.text())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        generation.cancel()
        generation.cancel()
        assert await reading == "bcd"
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.CANCELLED
        assert generation.finished.offset == 4
        fake.pause_at = None
        assert await session.generate(max_tokens=2).text() == "ef"
    assert fake.log.count("cancel") == 1


async def test_cancel_before_the_first_read_still_ends_it(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=ENDLESS)
        generation.cancel()
        assert len(await generation.text()) < ENDLESS
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.CANCELLED


async def test_an_append_behind_a_generation_that_nobody_reads_is_answered(
    daemon: Client,
) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=30_000)
        pieces = aiter(generation)
        text = await anext(pieces)
        appended = await asyncio.wait_for(session.append("z"), GUARD_S)
        assert appended.offset == 1 + 30_000 + 1
        text += "".join([piece async for piece in pieces])
        assert text == letters("a", 30_000)


async def test_an_append_after_a_cancel_is_answered_though_nobody_reads(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=ENDLESS)
        pieces = aiter(generation)
        text = await anext(pieces)
        generation.cancel()
        appended = await asyncio.wait_for(session.append("z"), GUARD_S)
        text += "".join([piece async for piece in pieces])
        assert appended.offset == 1 + len(text) + 1
        assert text == letters("a", len(text))


async def test_leaving_the_loop_ends_the_generation(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        async for _ in session.generate(max_tokens=ENDLESS):
            break
        assert (await asyncio.wait_for(session.append("z"), GUARD_S)).offset < ENDLESS


async def test_leaving_the_loop_cancels(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 3
    async with daemon.session() as session:
        await session.append("a")
        async for text in session.generate(max_tokens=100):
            if text == "d":
                break
        # Unless the generation were cancelled, this would wait for it for ever.
        assert (await asyncio.wait_for(session.append("z"), GUARD_S)).offset == 5
    assert "cancel" in fake.log


async def test_leaving_the_with_block_cancels(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        async with session.generate(max_tokens=ENDLESS) as generation:
            texts = aiter(generation)
            assert (await anext(texts)).startswith("b")
        assert await session.append("z")
        with pytest.raises(StopAsyncIteration):
            await anext(texts)
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.CANCELLED


async def test_a_cancelled_reader_cancels_its_generation_alone(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=ENDLESS).text())
        while session.offset < 2:  # noqa: ASYNC110  # it moves while the task reads
            await asyncio.sleep(0.001)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (await asyncio.wait_for(session.append("a"), GUARD_S)).offset < ENDLESS


async def test_a_cancelled_append_leaves_the_session(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=ENDLESS)
        pieces = aiter(generation)
        text = await anext(pieces)
        waiting = asyncio.create_task(session.append("b"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        generation.cancel()
        text += "".join([piece async for piece in pieces])
        assert (await session.append("c")).offset == 1 + len(text) + 1


async def test_closing_a_session_cancels_what_runs(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 1
    async with daemon.session() as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=100).text())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    await reading
    assert fake.log[-2:] == ["cancel", "close"]
    with pytest.raises(client.CellwireError):
        await session.append("b")


async def test_a_closed_session_is_deleted(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=ENDLESS).text())
        await asyncio.sleep(0)
    await reading
    with pytest.raises(client.CellwireError):
        await session.append("b")
    with pytest.raises(client.NotFound):
        await daemon.get_session(session.id)


async def test_an_error_in_the_block_drops_the_session(daemon: Client, fake: FakeDaemon) -> None:
    with pytest.raises(ZeroDivisionError):
        async with daemon.session():
            raise ZeroDivisionError
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)
    assert fake.log == ["open"]


async def test_a_vanished_daemon_ends_every_operation(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 2
    async with daemon.session() as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=100).text())
        waiting = asyncio.create_task(session.append("b"))
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        await fake.stop()
        for operation in (reading, waiting, session.append("c")):
            with pytest.raises(client.Unavailable):
                await operation


async def test_closing_the_client_ends_its_sessions(target: str) -> None:
    async with client.connect(target) as daemon:
        session = await daemon.session().__aenter__()
        await session.append("a")
        texts = aiter(session.generate(max_tokens=ENDLESS))
        await anext(texts)
    with pytest.raises(client.Cancelled):
        async for _ in texts:
            pass
    await session.__aexit__(None, None, None)
