"""Searching for completions, and accepting them."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import (
    Client,
)
from cellwire.v1 import operations_pb2

GUARD_S = 20


async def test_complete_finds_the_best_first(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        completed = await session.complete(beam_width=4, completion_count=2, max_tokens=5)
        assert completed.offset == 1
        best, second = completed.completions
        assert (best.text, best.token_count, best.ended) == ("bcdef", 5, True)
        assert best.log_probability == pytest.approx(0, abs=1e-6)
        assert (second.token_count, second.ended) == (5, True)
        assert second.log_probability == pytest.approx(-30)
        assert (await session.append("b")).offset == 2


async def test_a_word_that_does_not_end_says_so(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        (best,) = (await session.complete(max_tokens=4, end="word")).completions
        assert (best.text, best.ended) == ("bcde", False)


async def test_a_complete_sends_its_options(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("a")
        await session.complete(
            beam_width=4, completion_count=2, max_tokens=9, length_penalty=0.5, end="word"
        )
    assert fake.sent("complete") == operations_pb2.Complete(
        beam_width=4,
        completion_count=2,
        max_tokens=9,
        length_penalty=0.5,
        end=operations_pb2.COMPLETION_END_WORD,
    )


async def test_completing_shows_the_best_so_far_and_the_final_last(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        texts = [
            completed.completions[0].text async for completed in session.completing(max_tokens=5)
        ]
    assert texts[-1] == "bcdef"
    assert all("bcdef".startswith(text) for text in texts)
    assert texts[:-1] == sorted(set(texts[:-1]))  # each longer than the one before


async def test_leaving_the_loop_cancels_a_search(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_search_at = 2
    async with daemon.session() as session:
        await session.append("a")
        async for _ in session.completing():
            break
        # Unless the search were cancelled, this would wait for it for ever.
        assert await asyncio.wait_for(session.score("b"), GUARD_S)
    assert "cancel" in fake.log


async def test_a_cancelled_task_cancels_its_search(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_search_at = 0
    async with daemon.session() as session:
        await session.append("a")
        search = asyncio.create_task(session.complete())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        assert await asyncio.wait_for(session.score("b"), GUARD_S)


@pytest.mark.parametrize("move", ["append", "generate"])
async def test_a_search_is_superseded_when_the_text_changes(daemon: Client, move: str) -> None:
    async with daemon.session() as session:
        await session.append("a")
        # Together they take far longer than the next operation takes to arrive.
        searches = [
            asyncio.create_task(session.complete(beam_width=64, max_tokens=1024)) for _ in range(20)
        ]
        await asyncio.sleep(0)
        if move == "append":
            await session.append("b")
        else:
            assert await session.generate(max_tokens=1).text() == "b"
        assert session.offset == 2
        *_, last = await asyncio.gather(*searches, return_exceptions=True)
        assert isinstance(last, client.Superseded)


@pytest.mark.parametrize("move", ["append", "generate"])
async def test_a_paused_search_is_superseded(daemon: Client, fake: FakeDaemon, move: str) -> None:
    fake.pause_search_at = 1
    async with daemon.session() as session:
        await session.append("a")

        async def watch() -> None:
            async for _ in session.completing():
                pass

        running = asyncio.create_task(watch())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        waiting = asyncio.create_task(session.complete())
        await asyncio.sleep(0)
        if move == "append":
            await session.append("b")
        else:
            await session.generate(max_tokens=1).text()
        assert session.offset == 2
        for search in (running, waiting):
            with pytest.raises(client.Superseded):
                await search


async def test_accept_adds_a_completion_or_its_beginning(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        completed = await session.complete(completion_count=2, max_tokens=3)
        text = completed.completions[1].text
        appended = await session.accept(1, tokens=2)
        assert appended.offset == 3
        assert (await daemon.get_session(session.id)).tail == "a" + text[:2]
        assert await session.generate(max_tokens=2).text() == letters(text[1], 2)
        await session.complete(max_tokens=3)
        assert (await session.accept()).offset == 8


async def test_accept_wants_a_completion_that_still_holds(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        await session.complete()
        with pytest.raises(client.NotFound):
            await session.accept(1)
        with pytest.raises(client.OutOfRange):
            await session.accept(tokens=33)
        await session.append("b")
        with pytest.raises(client.FailedPrecondition, match="no completions"):
            await session.accept()
