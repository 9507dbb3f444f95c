"""The operations of a session, one after the other."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.client.fake.daemon import FakeDaemon
from tests.client.real.daemon import RealDaemon

from cellwire import client
from cellwire.client import (
    Client,
    LabelScore,
    connect,
)
from cellwire.v1 import operations_pb2


async def test_an_open_sends_its_options(daemon: Client, fake: FakeDaemon) -> None:
    options: client.OpenOptions = {
        "rewind_window": 0,
        "unknown_symbols": "skip",
        "on_disconnect": "continue",
        "idle_timeout_s": 30.5,
    }
    async with daemon.session(**options) as session:
        assert (await session.append("aBCd")).offset == 2
    assert fake.sent("open") == operations_pb2.Open(
        rewind_window=0,
        unknown_symbols=operations_pb2.UNKNOWN_SYMBOLS_SKIP,
        on_disconnect=operations_pb2.ON_DISCONNECT_CONTINUE,
        idle_timeout=Duration(seconds=30, nanos=500_000_000),
        session_id=session.id,
    )


async def test_what_is_left_out_is_left_to_the_daemon(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("a")
        await session.complete()
        await session.fork()
    assert not fake.sent("open").HasField("rewind_window")
    assert not fake.sent("open").HasField("idle_timeout")
    assert fake.sent("open").on_disconnect == operations_pb2.ON_DISCONNECT_UNSPECIFIED
    assert fake.sent("complete") == operations_pb2.Complete(
        end=operations_pb2.COMPLETION_END_LENGTH
    )
    assert not fake.sent("fork").HasField("seed")


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


async def test_bytes_are_scored_as_they_are(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        await session.append("a")
        assert (await session.score(b"bc")).scored_tokens == 2
    assert fake.sent("score").data == b"bc"


async def test_rewind_goes_back_as_far_as_the_window(daemon: Client) -> None:
    async with daemon.session(rewind_window=3) as session:
        await session.append("abcdef")
        assert (await session.rewind(2)).offset == 4
        assert await session.generate(max_tokens=1).text() == "e"
        assert (await session.rewind(to=3)).offset == 3
        with pytest.raises(client.OutOfRange, match="can be rewound to 3"):
            await session.rewind(1)
        assert session.offset == 3


async def test_a_session_returns_to_its_checkpoints(daemon: Client, fake: FakeDaemon) -> None:
    assert fake.target == daemon.target
    async with daemon.session() as session:
        await session.append("abc")
        assert await session.checkpoint("a") == client.Checkpointed("a", 3)
        assert await session.generate(max_tokens=9).text() == "defghijkl"
        await session.checkpoint("b")
        assert await session.restore("a") == client.Restored("a", 3)
        assert session.offset == 3
        assert await session.generate(max_tokens=2).text() == "de"
        kept = (await daemon.get_session(session.id)).checkpoints
        assert kept == (client.NamedCheckpoint("a", 3), client.NamedCheckpoint("b", 12))
        assert await session.discard_checkpoint("a") == client.Discarded("a")
        with pytest.raises(client.NotFound, match="it has 'b'"):
            await session.restore("a")
        assert (await session.restore("b")).offset == session.offset == 12


@pytest.mark.parametrize("operation", ["checkpoint", "restore", "discard_checkpoint"])
async def test_only_durable_sessions_have_checkpoints(real: RealDaemon, operation: str) -> None:
    async with connect(real.target) as daemon, daemon.session() as session:
        with pytest.raises(client.FailedPrecondition, match="not durable"):
            await getattr(session, operation)("a")
        assert (await session.append("abc")).offset == 3


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
