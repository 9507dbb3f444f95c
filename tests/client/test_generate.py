"""A session's generate: its options, pieces and stop strings."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.fake.daemon import FakeDaemon

from cellwire.client import (
    Alternative,
    Client,
    FinishReason,
)
from cellwire.v1 import operations_pb2

GUARD_S = 20


async def test_a_generation_sends_its_options(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(
            max_tokens=1,
            seed=0,
            temperature=0.5,
            top_k=3,
            top_p=0.25,
            min_p=0.125,
            repetition_penalty=1.5,
            repetition_window=9,
            logit_bias={"e": -100.0, "x": 2.0},
        )
        await generation.text()
    bias = {one.symbol: one.bias for one in fake.sent("generate").sampling.logit_bias}
    assert bias == {"e": -100.0, "x": 2.0}
    fake.sent("generate").sampling.ClearField("logit_bias")
    assert fake.sent("generate").sampling == operations_pb2.Sampling(
        temperature=0.5,
        top_k=3,
        top_p=0.25,
        min_p=0.125,
        repetition_penalty=1.5,
        repetition_window=9,
        seed=0,
    )


async def test_a_stop_string_ends_a_generation_before_it(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=20, stop_strings=["no", "ef"])
        assert await generation.text() == "bcd"
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.STOP
    assert generation.finished.stop_string == "ef"
    assert generation.finished.offset == 4


async def test_pieces_carry_alternatives(daemon: Client, fake: FakeDaemon) -> None:
    fake.chunk_tokens = 2
    async with daemon.session() as session:
        await session.append("a")
        (piece,) = [
            piece async for piece in session.generate(max_tokens=2, top_alternatives=2).pieces()
        ]
    assert piece.alternatives == (
        (Alternative("b", 0.0), Alternative("c", -30.0)),
        (Alternative("c", 0.0), Alternative("d", -30.0)),
    )
    assert (piece.offset, piece.end_offset) == (1, 3)


async def test_each_token_has_its_alternatives(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=3, top_alternatives=2)
        each = [one async for piece in generation.pieces() for one in piece.alternatives]
    symbols = ["".join(one.symbol for one in likely) for likely in each]
    assert symbols == ["bc", "cd", "de"]
    for best, second in each:
        assert best.log_probability == pytest.approx(0, abs=1e-6)
        assert second.log_probability == pytest.approx(-30)


async def test_the_offset_is_where_reading_has_come_to(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        assert session.offset == 0
        await session.append("abc")
        assert session.offset == 3
        await session.score("xyz")
        await session.complete()
        assert session.offset == 3
        fake.pause_at = 6
        async for text in session.generate(max_tokens=20):
            if text == "f":
                await asyncio.wait_for(fake.paused.wait(), GUARD_S)
                break
        # The model has generated more than was read; rewinding to here removes just that.
        assert session.offset == 6
        assert (await session.rewind(to=session.offset)).offset == 6
        assert await session.generate(max_tokens=1).text() == "g"
    assert fake.generated_tokens[session.id] > 4
