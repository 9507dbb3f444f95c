"""What answers say of safety, and what they wait for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.rpc.conftest import Stream, until
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    SESSION_ID,
    LastingStore,
    answer,
    attach,
    begin,
    safe_at,
    serving,
    session_of,
    stream_to,
)

from cellwire.server.errors import StoreFailed
from cellwire.server.host import answer_gate
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import STORE
from cellwire.v1.generation_pb2 import StreamSessionResponse


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=1)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers wait only a moment until they are safe."""
    monkeypatch.setattr(answer_gate, "SAFE_FIRST_TIMEOUT_S", 0.05)


async def test_safe_first_answers_wait_for_the_store(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        store.open.clear()
        await stream.send(2, append={"text": "more"})
        await stream.send(3, score={"text": "of it"})
        next_answer = asyncio.create_task(stream.receive())
        session = session_of(daemon)
        await until(lambda: session.gate.waiting == 2)
        assert not next_answer.done()
        store.open.set()
        appended = await next_answer
        assert appended.appended.offset == 16
        assert appended.safe.revision >= appended.revision == 2
        scored = await stream.receive()
        assert scored.scored.scored_tokens == 5
        assert scored.revision == 0


async def test_safe_first_text_is_safe_when_it_comes(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, FIRST)
        await stream.send(2, generate={"max_tokens": 500})
        for response in await stream.until("finished"):
            assert response.safe.revision >= response.revision
            if response.HasField("chunk"):
                assert response.safe.offset >= response.chunk.end_offset


async def test_safe_later_answers_come_at_once_and_saved_follows(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, LATER)
        await stream.send(9, save={})
        await stream.until("saved")
        store.open.clear()
        await stream.send(2, append={"text": "more"})
        appended = await answer(stream)
        assert appended.revision == 2
        assert appended.safe.revision == 1
        assert appended.safe.offset == 12
        store.open.set()
        saved = await stream.receive()
        assert saved.WhichOneof("answer") == "saved"
        assert saved.operation_id == 0
        assert (saved.safe.revision, saved.safe.offset) == (2, 16)


async def test_save_waits_for_what_was_sent_before_it(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, LATER)
        await stream.send(2, generate={"max_tokens": 300})
        await stream.send(3, save={})
        responses = await stream.until("finished")
        while responses[-1].operation_id != 3:
            responses.append(await stream.receive())
        finished = next(r for r in responses if r.HasField("finished"))
        assert responses[-1].HasField("saved")
        assert responses[-1].safe.revision == finished.revision
        assert responses[-1].safe.offset == 312


async def test_a_save_that_cannot_be_answered_is_rejected(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, LATER)
        await stream.send(0, save={})
        status = (await answer(stream)).rejected.status
        assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        plain = stream_to(channel)
        await plain.open()
        await plain.send(2, save={})
        status = (await plain.receive()).rejected.status
        assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "not durable" in status.message


def health_of(channel: aio.Channel) -> Any:  # noqa: ANN401  # the library's stub has no types
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.usefixtures("impatient")
async def test_safe_first_fails_after_a_while_and_goes_on_later(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, FIRST)
        store.failure = StoreFailed("the disk is full")
        await stream.send(2, append={"text": "more"})
        code, details = await stream.end()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "the session goes on" in details
        store.failure = None
        stream, attached = await attach_when_safe(channel)
        assert attached.attached.offset == 16
        assert attached.safe.offset == 16
        assert [done.operation_id for done in attached.attached.done] == [1, 2]


async def attach_when_safe(channel: aio.Channel) -> tuple[Stream, StreamSessionResponse]:
    """Attach again and again: it is refused as long as the store does not answer."""
    while True:
        stream = stream_to(channel)
        await stream.send(attach={"session_id": SESSION_ID, "takeover": True})
        response = await stream.call.read()
        if response is not aio.EOF:
            return stream, response


@pytest.mark.usefixtures("impatient")
async def test_a_save_fails_after_a_while(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, LATER)
        store.failure = StoreFailed("the disk is full")
        await stream.send(2, append={"text": "more"})
        assert (await answer(stream)).appended.offset == 16
        await stream.send(3, save={})
        rejected = await answer(stream)
        assert rejected.operation_id == 3
        assert rejected.rejected.status.code == grpc.StatusCode.UNAVAILABLE.value[0]
        store.failure = None
        await safe_at(stream, 2)


async def test_a_failing_store_shows_in_health(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        watch = health_of(channel).Watch(health_pb2.HealthCheckRequest(service=STORE))
        stream = await begin(channel, LATER)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        store.failure = StoreFailed("the disk is full")
        await stream.send(2, append={"text": "more"})
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await stream.generated(3, 50)
        store.failure = None
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await safe_at(stream, 3)


async def test_without_a_store_health_knows_none(config: Config) -> None:
    async with serving(config) as (_, channel):
        with pytest.raises(aio.AioRpcError) as raised:
            await health_of(channel).Check(health_pb2.HealthCheckRequest(service=STORE))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_attaching_waits_with_safe_first(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        store.open.clear()
        await stream.send(2, append={"text": "more"})
        await until(lambda: session_of(daemon).gate.waiting == 1)
        stream.call.cancel()
        await until(lambda: session_of(daemon).attachment is None)
        attaching = asyncio.create_task(attach(channel, offset=0))
        await until(lambda: session_of(daemon).gate.waiting == 2)
        assert not attaching.done()
        store.open.set()
        _, attached = await attaching
        assert attached.attached.missed.text == "hello world more"
        assert attached.safe.revision == attached.revision == 2
