"""A store that takes nothing for long: texts stop growing before anything must be dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import text_of, until
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
    session_of,
    stored_of,
    stream_to,
)

from cellwire.server.errors import StoreFailed
from cellwire.server.host import store_room
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

MOST_BYTES = 20_000
READ_AHEAD = 1_024  # tokens
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
OTHER_ID = "f" * 32


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_room, "MOST_WAITING_BYTES", MOST_BYTES)


async def generate_until_full(
    daemon: Daemon, channel: aio.Channel
) -> asyncio.Task[list[StreamSessionResponse]]:
    """Let a session generate until it pauses; return what reads all of its answers."""
    stream = await begin(channel)
    await stream.send(2, generate={"max_tokens": 20_000})
    reading = asyncio.create_task(stream.until("finished"))
    await until(lambda: withheld(daemon) == READ_AHEAD)
    assert not reading.done()
    return reading


def withheld(daemon: Daemon) -> int:
    return stored_of(daemon).room._withheld.total()


@pytest.mark.parametrize("failure", ["slow", "failing"])
async def test_a_generate_pauses_and_goes_on_without_a_gap(
    config: Config, store: LastingStore, failure: str
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 20_000)
    async with serving(config, store) as (daemon, channel):
        store.open.clear()
        if failure == "failing":
            store.failure = StoreFailed("the disk is full")
            store.open.set()
        reading = await generate_until_full(daemon, channel)
        waiting_bytes = stored_of(daemon)._writer.waiting_bytes
        assert MOST_BYTES < waiting_bytes < MOST_BYTES + 4 * 3 * 1_024
        store.failure = None
        store.open.set()
        *chunks, finished = await reading
        assert text_of(chunks) == expected
        assert finished.finished.usage.generated_tokens == 20_000
    async with serving(config, store) as (_, channel):
        _, attached = await attach(channel, offset=0)
        assert attached.attached.missed.text == PROMPT + expected


async def test_a_client_that_attaches_meanwhile_gets_its_credit_once(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        store.open.clear()
        reading = await generate_until_full(daemon, channel)
        stream, attached = await attach(channel, offset=0, takeover=True)
        assert len(attached.attached.missed.text) > 1_000
        await until(lambda: withheld(daemon) == READ_AHEAD)
        with pytest.raises(aio.AioRpcError):  # its stream was taken over
            await reading
        assert stored_of(daemon)._writer.waiting_bytes < MOST_BYTES + 4 * 4 * 1_024
        store.open.set()
        *_, finished = await stream.until("finished")
        assert finished.finished.offset == len(PROMPT) + 20_000


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_new_text_is_refused_and_nothing_else(
    config: Config, store: LastingStore, durability: str
) -> None:
    async with serving(config, store) as (daemon, channel):
        other = await begin(channel, durability, session_id=OTHER_ID)
        await stored_of(daemon).flushed()
        store.open.clear()
        reading = await generate_until_full(daemon, channel)
        for operation in ({"append": {"text": "more"}}, {"generate": {"max_tokens": 1}}, FORK):
            await other.send(3, **operation)
            status = (await answer(other)).rejected.status
            assert status.code == FULL.value[0]
            assert "nothing is lost" in status.message
        for call in (_open(channel, durability), _fork(channel), _import(channel)):
            assert await call is FULL
        await other.send(4, score={"text": "it"})
        await other.send(5, rewind={"tokens": 1})
        if durability == LATER:
            assert (await answer(other)).HasField("scored")
            assert (await answer(other)).HasField("rewound")
        plain = await begin(channel, None, session_id="a" * 32)
        assert len(await plain.generated(2, 3_000)) == 3_000
        store.open.set()
        await until(lambda: session_of(daemon, OTHER_ID).record.safe.all)
        if durability == FIRST:
            assert (await answer(other)).HasField("scored")
            assert (await answer(other)).HasField("rewound")
        await other.send(6, append={"text": "more"})
        assert (await answer(other)).appended.offset == len(PROMPT) - 1 + 4
        await reading


FORK = {"fork": {"session_id": "e" * 32}}


async def _open(channel: aio.Channel, durability: str) -> grpc.StatusCode:
    stream = stream_to(channel)
    await stream.send(open={"durability": durability})
    return (await stream.end())[0]


async def _fork(channel: aio.Channel) -> grpc.StatusCode:
    request = sessions_pb2.ForkSessionRequest(session_id=SESSION_ID)
    return await _status(SessionsServiceStub(channel).ForkSession(request))


async def _import(channel: aio.Channel) -> grpc.StatusCode:
    stub = SessionsServiceStub(channel)
    exported = await stub.ExportSession(sessions_pb2.ExportSessionRequest(session_id=OTHER_ID))
    request = sessions_pb2.ImportSessionRequest(
        snapshot=exported.snapshot, durability=operations_pb2.DURABILITY_SAFE_LATER
    )
    return await _status(stub.ImportSession(request))


async def _status(call: Awaitable[object]) -> grpc.StatusCode:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value.code()
