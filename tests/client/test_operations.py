"""The operations of a session, one after the other."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import (
    Alternative,
    Client,
    Completed,
    FinishReason,
    LabelScore,
)
from cellwire.client.values import Completing
from cellwire.client.wire.inbox import Inbox
from cellwire.v1 import operations_pb2

GUARD_S = 20
ENDLESS = 1_000_000


def sent(fake: FakeDaemon, kind: str) -> Any:  # noqa: ANN401  # messages have no common type
    """Return the last operation of a kind that was sent."""
    requests = [request for request in fake.requests if request.WhichOneof("operation") == kind]
    return getattr(requests[-1], kind)


async def test_an_open_sends_its_options(daemon: Client, fake: FakeDaemon) -> None:
    options: client.OpenOptions = {
        "rewind_window": 0,
        "unknown_symbols": "skip",
        "on_disconnect": "continue",
        "idle_timeout_s": 30.5,
    }
    async with daemon.session(**options) as session:
        assert (await session.append("aBCd")).offset == 2
    assert sent(fake, "open") == operations_pb2.Open(
        rewind_window=0,
        unknown_symbols=operations_pb2.UNKNOWN_SYMBOLS_SKIP,
        on_disconnect=operations_pb2.ON_DISCONNECT_CONTINUE,
        idle_timeout=Duration(seconds=30, nanos=500_000_000),
    )


async def test_what_is_left_out_is_left_to_the_daemon(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("a")
        await session.complete()
        await session.fork()
    assert not sent(fake, "open").HasField("rewind_window")
    assert not sent(fake, "open").HasField("idle_timeout")
    assert sent(fake, "open").on_disconnect == operations_pb2.ON_DISCONNECT_DELETE
    assert sent(fake, "complete") == operations_pb2.Complete(
        end=operations_pb2.COMPLETION_END_LENGTH
    )
    assert sent(fake, "fork") == operations_pb2.Fork()


async def test_words_and_names_that_do_not_exist_are_refused_here(daemon: Client) -> None:
    with pytest.raises(ValueError, match="'keep' is none of 'delete', 'cancel'"):
        daemon.session(on_disconnect="keep")  # type: ignore[arg-type]  # that is the point
    async with daemon.session() as session:
        with pytest.raises(TypeError, match="temprature"):
            session.generate(max_tokens=1, temprature=1.0)  # type: ignore[call-arg]  # likewise
        with pytest.raises(TypeError, match="not one string"):
            session.generate(max_tokens=1, stop_strings="ab")
        with pytest.raises(ValueError, match="'sentence' is none of"):
            await session.complete(end="sentence")  # type: ignore[arg-type]  # likewise
        with pytest.raises(TypeError, match="either"):
            await session.rewind()
        with pytest.raises(TypeError, match="either"):
            await session.rewind(1, to=1)
        with pytest.raises(ValueError, match="at least one"):
            await session.accept(tokens=0)


async def test_bytes_are_appended_as_they_are(daemon: Client) -> None:
    async with daemon.session(model="judge") as session:
        assert (await session.append("é".encode()[:1])).offset == 1
        assert (await session.append("é".encode()[1:])).offset == 2


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
    bias = {one.symbol: one.bias for one in sent(fake, "generate").sampling.logit_bias}
    assert bias == {"e": -100.0, "x": 2.0}
    sent(fake, "generate").sampling.ClearField("logit_bias")
    assert sent(fake, "generate").sampling == operations_pb2.Sampling(
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
        # The model has written more than was read; going back to here takes just that back.
        assert session.offset == 6
        assert (await session.rewind(to=session.offset)).offset == 6
        assert await session.generate(max_tokens=1).text() == "g"
    assert fake.generated_tokens[session.id] > 4


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
    assert sent(fake, "complete") == operations_pb2.Complete(
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


async def test_a_slow_reader_of_a_search_gets_the_newest() -> None:
    inbox = Inbox(operation_id=1)
    for offset in range(1, 4):
        await inbox.put(Completing(Completed(offset, ())))
    inbox.end(Completed(4, ()))
    assert await inbox.take() == Completing(Completed(3, ()))
    assert await inbox.take() == Completed(4, ())


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
        running = session.completing(beam_width=64, max_tokens=1024)
        await anext(running)
        waiting = asyncio.create_task(session.complete())
        await asyncio.sleep(0)
        if move == "append":
            await session.append("b")
        else:
            assert await session.generate(max_tokens=1).text() == "b"
        assert session.offset == 2
        with pytest.raises(client.Superseded):
            async for _ in running:
                pass
        with pytest.raises(client.Superseded):
            await waiting


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


async def test_rewind_goes_back_as_far_as_the_window(daemon: Client) -> None:
    async with daemon.session(rewind_window=3) as session:
        await session.append("abcdef")
        assert (await session.rewind(2)).offset == 4
        assert await session.generate(max_tokens=1).text() == "e"
        assert (await session.rewind(to=3)).offset == 3
        with pytest.raises(client.OutOfRange, match="can be rewound to 3"):
            await session.rewind(1)
        assert session.offset == 3


async def test_a_fork_goes_its_own_way(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        forked = await session.fork(seed=5)
        assert forked.session_id != session.id
        assert (forked.seed, forked.offset) == (5, 3)
        async with daemon.attach(forked) as other:
            assert (other.id, other.seed, other.offset) == (forked.session_id, 5, 3)
            await other.append("x")
            assert await other.generate(max_tokens=1).text() == "y"
        assert await session.generate(max_tokens=1).text() == "d"


async def test_score_does_not_move_the_session(daemon: Client) -> None:
    async with daemon.session() as session:
        assert (await session.score("abc")).scored_tokens == 2
        await session.append("a")
        scored = await session.score("bd", log_probabilities=True)
        assert scored.log_probability == pytest.approx(-30)
        assert scored.scored_tokens == 2
        assert scored.bits_per_token == pytest.approx(15 / math.log(2))
        assert scored.perplexity == pytest.approx(math.exp(15))
        assert scored.log_probabilities == pytest.approx((0, -30), abs=1e-6)
        with pytest.raises(client.InvalidArgument):
            await session.score("B")
        assert (await session.append("b")).offset == 2


async def test_classify_gives_the_labels_scores(daemon: Client) -> None:
    async with daemon.session(model="judge") as session:
        with pytest.raises(client.FailedPrecondition, match="no text"):
            await session.classify()
        await session.append("fine")
        classified = await session.classify()
    assert classified.offset == 4
    assert classified.scores == (LabelScore("good", 0.75), LabelScore("bad", 0.25))
    async with daemon.session() as session:
        await session.append("a")
        with pytest.raises(client.FailedPrecondition, match="no labels"):
            await session.classify()
