"""Durable sessions when the store, the model or the daemon fails."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, described, is_there, until
from tests.server.rpc.durable import (
    FIRST,
    PROMPT,
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

from cellwire.server.engine.commands import CloseSession
from cellwire.server.errors import Aborted, DamagedRecord, StepFailed, StoreFailed
from cellwire.server.host import waking
from cellwire.server.host.config import Config
from cellwire.server.state.stored_session import StoredSession
from cellwire.v1 import sessions_pb2
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


async def test_a_session_that_the_store_refuses_ends_alone(
    config: Config, store: LastingStore
) -> None:
    """What was safe of it stays; it wakes from that, and is stored again."""
    async with serving(config, store) as (_, channel):
        stream, other = await begin(channel), await begin(channel, session_id="f" * 32)
        await stream.send(2, save={})
        await stream.until("saved")
        store.refused = {SESSION_ID: DamagedRecord("the record is damaged", session_id=SESSION_ID)}
        await stream.send(3, append={"text": "not safe"})
        code, details = await stream.end()
        assert (code, details) == (grpc.StatusCode.DATA_LOSS, "the record is damaged")
        store.refused = {}
        stream, attached = await attach(channel, offset=0)
        assert attached.attached.missed.text == PROMPT
        await stream.send(4, append={"text": "safe again"})
        await safe_at(stream, 2)
        assert len(await other.generated(2, 20)) == 20


async def test_a_session_outlives_its_model(config: Config, store: LastingStore) -> None:
    """Whatever its stream's end was to do with it."""
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, on_disconnect="ON_DISCONNECT_DELETE")
        model = next(iter(daemon.registry))
        assert daemon.sessions.end_all_of(model, Aborted("the model was unloaded")) == 1
        code, _ = await stream.end()
        assert code is grpc.StatusCode.ABORTED
        assert (await described(channel, SESSION_ID)).tail == PROMPT


@pytest.mark.parametrize("stream_is", ["attached", "gone"])
async def test_a_session_outlives_a_failed_step(
    config: Config, store: LastingStore, stream_is: str
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 60)
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel)
        text = await stream.generated(2, 30)
        if stream_is == "gone":
            await stream.send(3, close={"keep": True})
            await stream.until("closed")
            await until(lambda: session_of(daemon).attachment is None)
        next(iter(daemon.registry)).loop.post(CloseSession(SESSION_ID, StepFailed("it failed")))
        if stream_is == "attached":
            code, details = await stream.end()
            assert (code, details) == (grpc.StatusCode.INTERNAL, "it failed")
        await until(lambda: SESSION_ID not in daemon.sessions)
        stream, _ = await attach(channel)
        assert text + await stream.generated(4, 30) == expected


async def test_a_daemon_stops_although_its_store_fails(
    config: Config, store: LastingStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(replace(config, drain_timeout_s=0.1), store) as (daemon, channel):
        stream = await begin(channel)
        await stream.send(2, save={})
        await stream.until("saved")
        store.failure = StoreFailed("the disk is full")
        await stream.send(3, append={"text": "not safe"})
        await answer(stream)
        await daemon.stop()
        code, _ = await stream.end()
        assert code is grpc.StatusCode.UNAVAILABLE
    assert "those are not safe" in caplog.text
    store.failure = None
    async with serving(config, store) as (_, channel):
        _, attached = await attach(channel, offset=0)
        assert attached.attached.missed.text == PROMPT


async def test_a_fork_is_reported_when_it_is_safe(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        store.open.clear()
        await stream.send(2, fork={"session_id": "f" * 32})
        await stream.send(3, score={"text": "it"})
        await until(lambda: session_of(daemon).gate.waiting == 2)
        store.open.set()
        assert (await stream.receive()).forked.session_id == "f" * 32
        assert (await stream.receive()).scored.scored_tokens == 2
        assert store.head("f" * 32).length == len(PROMPT)


async def test_a_paused_session_leaves_without_its_operations(
    config: Config, store: LastingStore
) -> None:
    async with serving(replace(config, max_resident=0), store) as (daemon, channel):
        stream = await begin(channel)
        await stream.send(2, generate={"max_tokens": 1_000_000})
        first = (await stream.until("chunk"))[-1].chunk.text
        stream.call.cancel()
        await until(lambda: SESSION_ID not in daemon.sessions)
        _, attached = await attach(channel, offset=len(PROMPT))
        assert not attached.attached.operation_ids
        assert attached.attached.missed.text.startswith(first)


async def test_a_session_is_deleted_while_it_wakes(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on, load = threading.Event(), threading.Event(), store.load

    def slow(session_id: str, last_tokens: int) -> StoredSession:
        loading.set()
        go_on.wait(GUARD_S)
        return load(session_id, last_tokens)

    async with serving(config, store) as (_, channel):
        await begin(channel)
    monkeypatch.setattr(store, "load", slow)
    async with serving(config, store) as (_, channel):
        stub = SessionsServiceStub(channel)
        waking_up = asyncio.create_task(is_there(channel, SESSION_ID))
        await until(loading.is_set)
        request = sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
        deleting = stub.DeleteSession(request)
        go_on.set()
        await waking_up
        await deleting
        assert not await is_there(channel, SESSION_ID)
    assert store.sessions() == []


async def test_a_session_that_cannot_leave_is_unavailable(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "SAFE_FIRST_TIMEOUT_S", 0.05)
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel)
        store.open.clear()
        await stream.send(2, append={"text": "more"})
        assert (await answer(stream)).appended.offset == 16
        session_of(daemon).leave(Aborted("it leaves"))
        second = stream_to(channel)
        await second.send(attach={"session_id": SESSION_ID})
        code, details = await second.end()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "cannot come back" in details
        store.open.set()
        await until(lambda: SESSION_ID not in daemon.sessions)
        assert (await described(channel, SESSION_ID)).offset == 16


async def test_export_and_delete_reach_a_stored_session(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        await begin(channel)
    async with serving(config, store) as (_, channel):
        stub = SessionsServiceStub(channel)
        exported = await stub.ExportSession(
            sessions_pb2.ExportSessionRequest(session_id=SESSION_ID)
        )
        assert exported.snapshot
        with pytest.raises(aio.AioRpcError) as raised:
            await stub.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id="e" * 32))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
