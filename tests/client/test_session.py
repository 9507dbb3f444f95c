"""A session: operations in order, pieces, and slow readers."""

from __future__ import annotations

import asyncio

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import Client, FinishReason, Usage
from cellwire.client.wire.inbox import MAX_WAITING_CHARACTERS
from cellwire.client.wire.stream import Stream

GUARD_S = 20


async def test_a_session_knows_its_model_and_seed(daemon: Client) -> None:
    async with daemon.session(model="alphabet", seed=7) as session:
        assert session.model.name == "alphabet"
        assert session.seed == 7
        assert len(bytes.fromhex(session.id)) == 16
    async with daemon.session(seed=0) as session:
        assert session.seed == 0
    async with daemon.session() as session:
        assert session.seed < 2**53


async def test_operations_run_in_order_and_the_session_remembers(daemon: Client) -> None:
    async with daemon.session() as session:
        appended = await session.append("abd")
        assert appended.offset == 3
        assert appended.log_probability == pytest.approx(-30)
        await session.rewind(1)
        await session.append("c")
        generation = session.generate(max_tokens=4)
        assert generation.finished is None
        assert await generation.text() == "defg"
        assert await session.generate(max_tokens=2).text() == "hi"
        assert (await session.append("x")).offset == 10
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.MAX_TOKENS
    assert generation.finished.offset == 7
    assert generation.finished.usage == Usage(appended_tokens=0, generated_tokens=4)


async def test_each_operation_is_sent_once(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        await session.generate(max_tokens=4).text()
        await session.append("x")
    assert fake.log == ["open", "append", "generate", "append", "close"]


async def test_operations_of_many_tasks_keep_their_order(daemon: Client) -> None:
    async with daemon.session() as session:
        answers = await asyncio.gather(*(session.append("ab") for _ in range(20)))
    assert [answer.offset for answer in answers] == list(range(2, 42, 2))


async def test_pieces_carry_offsets_and_log_probabilities(daemon: Client, fake: FakeDaemon) -> None:
    fake.chunk_tokens = 3
    async with daemon.session() as session:
        await session.append("ab")
        generation = session.generate(max_tokens=5, log_probabilities=True)
        pieces = [piece async for piece in generation.pieces()]
    assert [(piece.offset, piece.text) for piece in pieces] == [(2, "cde"), (5, "fg")]
    assert [piece.log_probabilities for piece in pieces] == [(0.0,) * 3, (0.0,) * 2]


async def test_pieces_join_to_the_text(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("ab")
        generation = session.generate(max_tokens=5000, log_probabilities=True)
        text, offset = "", 2
        async for piece in generation.pieces():
            assert piece.offset == offset
            assert piece.end_offset == offset + len(piece.text)
            assert piece.log_probabilities == pytest.approx([0] * len(piece.text), abs=1e-6)
            text, offset = text + piece.text, piece.end_offset
    assert text == letters("b", 5000)


async def test_a_generation_is_read_once(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a")
        generation = session.generate(max_tokens=1)
        assert await generation.text() == "b"
        with pytest.raises(RuntimeError, match="once"):
            await generation.text()


async def test_a_rejected_operation_fails_alone(daemon: Client) -> None:
    async with daemon.session() as session:
        with pytest.raises(client.FailedPrecondition, match="no text"):
            await session.generate(max_tokens=1).text()
        await session.append("ab")
        with pytest.raises(client.InvalidArgument, match=r"'C' \(U\+0043\) at offset 1") as caught:
            await session.append("aC")
        assert caught.value.code.name == "INVALID_ARGUMENT"
        assert await session.generate(max_tokens=1).text() == "c"


async def test_an_open_that_fails_raises_on_entering(daemon: Client) -> None:
    with pytest.raises(client.NotFound, match="no model is named 'x'"):
        async with daemon.session(model="x"):
            pytest.fail("it opened")
    assert (await daemon.models())[0].name == "alphabet"


@pytest.mark.slow
async def test_a_slow_reader_pauses_the_daemon(daemon: Client, fake: FakeDaemon) -> None:
    """The text is more than gRPC's windows hold; a second session shows that time passes."""
    fake.chunk_tokens = 2**18
    many = 2**25
    async with daemon.session() as slow, daemon.session() as quick:
        await slow.append("a")
        await quick.append("a")
        reader = aiter(slow.generate(max_tokens=many).pieces())
        first = await anext(reader)
        read = 0
        async for text in quick.generate(max_tokens=many):
            read += len(text)
        assert read == many
        assert fake.generated_tokens[slow.id] < many
        assert isinstance(slow._stream, Stream)
        (inbox,) = slow._stream._inboxes.values()
        assert inbox.waiting_characters < MAX_WAITING_CHARACTERS + fake.chunk_tokens
        read = len(first.text)
        async for piece in reader:
            assert piece.offset == 1 + read
            read += len(piece.text)
        assert read == many


async def test_a_generation_abandoned_while_paused_lets_the_session_go_on(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.chunk_tokens = MAX_WAITING_CHARACTERS
    async with daemon.session() as session:
        await session.append("a")
        async with session.generate(max_tokens=2**25) as generation:
            async for text in generation:
                assert text == letters("a", MAX_WAITING_CHARACTERS)
                break
        assert await asyncio.wait_for(session.append("z"), GUARD_S)
        assert fake.generated_tokens[session.id] < 2**25
