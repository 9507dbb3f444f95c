"""Durable sessions: the same text as if the daemon had never been stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from tests.server.rpc.conftest import described, text_of
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    PROMPT,
    SESSION_ID,
    LastingStore,
    answer,
    attach,
    begin,
    serving,
    stream_to,
)

from cellwire.server.host.config import Config
from cellwire.v1 import operations_pb2

SAMPLING = {"temperature": 0.8}


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_session_goes_on_over_restarts(
    config: Config, tmp_path: Path, durability: str
) -> None:
    async with serving(config) as (_, channel):
        stream = await begin(channel, None)
        expected = await stream.generated(2, 90, sampling=SAMPLING)
    config = replace(config, state=tmp_path / "state")
    async with serving(config) as (_, channel):
        stream = await begin(channel, durability)
        text = await stream.generated(2, 40, sampling=SAMPLING)
    for _ in range(2):
        async with serving(config) as (_, channel):
            stream, attached = await attach(channel, offset=0)
            assert attached.attached.offset == len(PROMPT + text)
            assert attached.attached.missed.text == PROMPT + text
            text += await stream.generated(3, 25, sampling=SAMPLING)
    assert text == expected


async def test_a_long_text_wakes_with_its_state(config: Config, store: LastingStore) -> None:
    """Its tokens before the state are not replayed; a rewind over the restart gives the same."""
    async with serving(config) as (_, channel):
        stream = await begin(channel, None, rewind_window=64)
        expected = await stream.generated(2, 2_000, sampling=SAMPLING)
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, rewind_window=64)
        first = await stream.generated(2, 1_500, sampling=SAMPLING)
    stored = store.load(SESSION_ID, 1)
    assert stored.state is not None
    assert stored.state.tokens_read > 900
    async with serving(config, store) as (_, channel):
        stream, _ = await attach(channel)
        await stream.send(3, rewind={"tokens": 60})
        assert (await answer(stream)).rewound.offset == 1_452
        again = await stream.generated(4, 560, sampling=SAMPLING)
    assert first + again[60:] == expected[: len(first) + 500]
    assert again == expected[1_440:]


async def test_a_drain_ends_streams_and_keeps_sessions(config: Config, store: LastingStore) -> None:
    """Even one that its client wanted deleted with its stream."""
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, on_disconnect="ON_DISCONNECT_DELETE")
        await daemon.stop()
        code, details = await stream.end()
        assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "the daemon is shutting down")
        status = await rpc_status.aio.from_call(stream.call)
        assert status is not None
        retry = RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.seconds > 0
    async with serving(config, store) as (_, channel):
        assert (await described(channel, SESSION_ID)).tail == PROMPT


async def test_an_interrupted_generate_goes_on_where_it_was(
    config: Config, store: LastingStore
) -> None:
    """With a seed of its own, a penalty and stop strings; its counts are those of all of it."""
    generate = {
        "max_tokens": 2_000,
        "sampling": {"temperature": 0.9, "seed": 5, "repetition_penalty": 1.1},
        "stop_strings": ["qqqq"],
    }
    async with serving(config) as (_, channel):
        stream = await begin(channel, None)
        await stream.send(2, generate=generate)
        *chunks, finished = await stream.until("finished")
        expected = text_of(chunks)
    async with serving(replace(config, drain_timeout_s=0), store) as (daemon, channel):
        stream = await begin(channel)
        await stream.send(2, generate=generate)
        assert text_of([await stream.receive() for _ in range(5)])
        await daemon.stop()
    async with serving(config, store) as (_, channel):
        stream, attached = await attach(channel, offset=len(PROMPT))
        assert not attached.attached.operation_ids
        text = attached.attached.missed.text
        assert [done.operation_id for done in attached.attached.done] == [1]
        await stream.send(2, generate={**generate, "start_offset": len(PROMPT)})
        *chunks, finished_again = await stream.until("finished")
    assert 0 < len(text) < 2_000
    assert text + text_of(chunks) == expected
    assert finished_again.finished == finished.finished


async def test_attached_tells_what_was_done(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await stream.generated(2, 10, stop_strings=["zzzzz"])
        await stream.send(0, append={"text": "no id "})
        await answer(stream)
        await stream.send(3, rewind={"tokens": 4})
        await answer(stream)
        await stream.send(4, rewind={"tokens": 1_000})
        rejected = await answer(stream)
        await stream.send(5, score={"text": "changes nothing"})
        await answer(stream)
    for _ in range(2):
        async with serving(config, store) as (_, channel):
            _, attached = await attach(channel)
            done = {done.operation_id: done for done in attached.attached.done}
            assert list(done) == [1, 2, 3, 4]
            assert done[1].appended.offset == 12
            assert done[1].appended.log_probability < 0
            assert done[2].finished.reason == operations_pb2.FINISH_REASON_MAX_TOKENS
            assert done[2].finished.usage.generated_tokens == 10
            assert done[3].rewound.offset == 24
            assert done[4].rejected.status.message == rejected.rejected.status.message
            assert done[4].rejected.status.code == rejected.rejected.status.code
            assert attached.revision == attached.safe.revision
            assert attached.safe.offset == 24


async def test_a_session_that_is_not_durable_costs_nothing(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, None)
        await stream.send(2, generate={"max_tokens": 20})
        await stream.send(3, close={})
        for response in await stream.until("closed"):
            assert response.revision == 0
            assert not response.HasField("safe")
    assert store.writes == []


async def test_without_a_store_no_session_is_durable(config: Config) -> None:
    async with serving(config) as (_, channel):
        stream = stream_to(channel)
        await stream.send(open={"durability": LATER})
        code, details = await stream.end()
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "`cellwire serve --state DIR`" in details
