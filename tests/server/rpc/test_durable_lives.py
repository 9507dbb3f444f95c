"""How long durable sessions live: their ids, their expiry, their end, and who stays in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import answer_of, described, is_there, until
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    PROMPT,
    SESSION_ID,
    Clock,
    LastingStore,
    answer,
    attach,
    begin,
    serving,
    session_of,
    stored_of,
    stream_to,
)

from cellwire.server.engine.engine import Engine
from cellwire.server.errors import DamagedRecord, StoreFailed
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.state.stored_session import StoredSession
from cellwire.server.store.writes import Delete
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

_LETTERS = str.maketrans("0123456789", "ghijklmnop")
OTHER_ID = "f" * 32
IDLE_S = {"seconds": 100}


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def leave(daemon: Daemon, session_id: str = SESSION_ID) -> None:
    """Let a session leave the process."""
    session_of(daemon, session_id).leave()
    await until(lambda: session_id not in daemon.sessions)


async def status_of_open(channel: aio.Channel, **settings: object) -> tuple[grpc.StatusCode, str]:
    stream = stream_to(channel)
    await stream.send(open=settings)
    return await stream.end()


async def status_of_attach(channel: aio.Channel) -> tuple[grpc.StatusCode, str]:
    stream = stream_to(channel)
    await stream.send(attach={"session_id": SESSION_ID})
    return await stream.end()


@pytest.mark.parametrize("durability", [None, LATER])
async def test_an_id_names_one_session(
    config: Config, store: LastingStore, durability: str | None
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, durability)
        code, details = await status_of_open(channel, session_id=SESSION_ID)
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert "attach to it" in details
        if durability:
            await stream.send(2, close={"keep": True})
            await stream.until("closed")
            await leave(daemon)
            code, _ = await status_of_open(channel, session_id=SESSION_ID)
            assert code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize("session_id", ["", "1", "A" * 32, "g" * 32, "0" * 33, "é" * 32])
async def test_other_ids_are_refused(config: Config, session_id: str) -> None:
    async with serving(config) as (_, channel):
        code, details = await status_of_open(channel, session_id=session_id)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "32 hexadecimal digits" in details


@pytest.mark.parametrize("durability", [None, LATER, FIRST])
async def test_an_id_is_free_again_after_its_session(
    config: Config, store: LastingStore, durability: str | None
) -> None:
    """Even if it is taken at once: nothing of the old session reaches the new one."""
    async with serving(config, store) as (_, channel):
        for text in ("first ", "second ", "third "):
            stream = await begin(channel, durability, text=text)
            await stream.send(2, generate={"max_tokens": 1_000_000})
            await stream.until("chunk")
            await SessionsServiceStub(channel).DeleteSession(
                sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
            )
            code, _ = await stream.end()
            assert code is grpc.StatusCode.ABORTED
        stream = await begin(channel, durability, text="last ")
        assert len(await stream.generated(2, 10)) == 10
        await stream.send(3, close={})
        await stream.until("closed")
        assert not await is_there(channel, SESSION_ID)


async def test_forks_and_imports_may_have_chosen_ids(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        sessions = SessionsServiceStub(channel)
        stream = await begin(channel)
        await stream.send(2, fork={"session_id": OTHER_ID, "seed": 3})
        forked = await answer(stream)
        assert forked.forked.session_id == OTHER_ID
        for again in (OTHER_ID, SESSION_ID):
            await stream.send(3, fork={"session_id": again})
            status = (await answer(stream)).rejected.status
            assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
        copy = await sessions.ForkSession(
            sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id="a" * 32)
        )
        assert copy.session.session_id == "a" * 32
        assert copy.session.durability == operations_pb2.DURABILITY_SAFE_LATER
        snapshot = (
            await sessions.ExportSession(sessions_pb2.ExportSessionRequest(session_id=SESSION_ID))
        ).snapshot
        imported = await sessions.ImportSession(
            sessions_pb2.ImportSessionRequest(
                snapshot=snapshot,
                session_id="b" * 32,
                durability=operations_pb2.DURABILITY_SAFE_FIRST,
            )
        )
        assert imported.session.durability == operations_pb2.DURABILITY_SAFE_FIRST
        with pytest.raises(aio.AioRpcError) as raised:
            await sessions.ImportSession(
                sessions_pb2.ImportSessionRequest(snapshot=snapshot, session_id="b" * 32)
            )
        assert raised.value.code() is grpc.StatusCode.ALREADY_EXISTS
        expected = await stream.generated(4, 30)
    async with serving(config, store) as (_, channel):
        for copy_id in ("a" * 32, "b" * 32, OTHER_ID):
            stream, attached = await attach(channel, copy_id, offset=0)
            assert attached.attached.missed.text == PROMPT
            text = await stream.generated(4, 30)
            assert (text == expected) == (copy_id == "b" * 32)  # the others have other seeds


async def test_a_session_expires_by_the_wall_clock(
    config: Config, store: LastingStore, clock: Clock
) -> None:
    async with serving(config, store, clock) as (_, channel):
        await begin(channel, idle_timeout=IDLE_S)
    clock.now_s += 99
    async with serving(config, store, clock) as (daemon, channel):
        await daemon.sweep.sweep()
        assert await is_there(channel, SESSION_ID)
    clock.now_s += 99
    async with serving(config, store, clock) as (_, channel):
        assert await is_there(channel, SESSION_ID)  # being asked for put it off
    clock.now_s += 101
    async with serving(config, store, clock) as (daemon, channel):
        assert not await is_there(channel, SESSION_ID)
        await daemon.sweep.sweep()
    assert store.sessions() == []


async def test_expired_sessions_are_swept(
    config: Config, store: LastingStore, clock: Clock
) -> None:
    async with serving(config, store, clock) as (_, channel):
        await begin(channel, idle_timeout=IDLE_S)
        await begin(channel, session_id=OTHER_ID, idle_timeout={"seconds": 1_000})
    clock.now_s += 101
    async with serving(config, store, clock) as (daemon, channel):
        await daemon.sweep.sweep()
        assert [session.session_id for session in store.sessions()] == [OTHER_ID]
        assert not await is_there(channel, SESSION_ID)


async def test_a_session_with_a_client_does_not_expire(
    config: Config, store: LastingStore, clock: Clock
) -> None:
    """But it does after a daemon that was killed, and so never heard the client go."""
    async with serving(config, store, clock) as (daemon, channel):
        stream = await begin(channel, idle_timeout=IDLE_S)
        for _ in range(20):
            clock.now_s += 300
            await daemon.sweep.sweep()
            await stored_of(daemon).flushed()
            assert store.expired(clock.now_s) == []
        assert len(await stream.generated(2, 10)) == 10
        assert store.expired(clock.now_s + 1_500) == [SESSION_ID]


async def test_an_idle_session_in_memory_expires(
    config: Config, store: LastingStore, clock: Clock
) -> None:
    async with serving(config, store, clock) as (daemon, channel):
        stream = await begin(channel, idle_timeout=IDLE_S)
        await stream.send(2, close={"keep": True})
        await stream.until("closed")
        await until(lambda: session_of(daemon).attachment is None)
        await stored_of(daemon).flushed()
        clock.now_s += 101
        await daemon.sweep.sweep()
        assert not await is_there(channel, SESSION_ID)
    assert store.sessions() == []


async def test_what_is_deleted_never_comes_back(config: Config, store: LastingStore) -> None:
    delete = sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
    async with serving(config, store) as (daemon, channel):
        await begin(channel)
        stub = SessionsServiceStub(channel)
        await begin(channel, session_id=OTHER_ID)
        await leave(daemon)
        await stub.DeleteSession(delete)
        assert not await is_there(channel, SESSION_ID)
        with pytest.raises(aio.AioRpcError) as raised:
            await stub.DeleteSession(delete)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    async with serving(config, store) as (_, channel):
        stream, _ = await attach(channel, OTHER_ID)
        await stream.send(2, close={})
        await stream.until("closed")
    assert store.sessions() == []
    assert sum(isinstance(write, Delete) for write in store.writes) == 2


async def test_few_of_many_sessions_stay_in_memory(config: Config, store: LastingStore) -> None:
    config = replace(config, max_resident=10)
    ids = [f"{number:032x}" for number in range(1_000)]
    texts = {i: "text " + i.translate(_LETTERS) for i in ids}
    async with serving(config, store) as (daemon, channel):
        for session_id in ids:
            stream = await begin(channel, session_id=session_id, text=texts[session_id])
            await stream.send(2, close={"keep": True})
            await stream.until("closed")
            await until(lambda: len(daemon.sessions) <= 20)
        await stored_of(daemon).residents.shrunk()
        await until(lambda: len(daemon.sessions) <= 10)
        model = next(iter(daemon.registry))
        assert (await answer_of(model, Engine.stats)).sessions <= 10
        for session_id in ids[::50]:
            stream, attached = await attach(channel, session_id, offset=0)
            assert attached.attached.missed.text == texts[session_id]
            await stream.generated(3, 5)
            await stream.send(4, close={"keep": True})
            await stream.until("closed")


async def test_sessions_come_and_go_where_none_may_stay(
    config: Config, store: LastingStore
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 50)
    async with serving(replace(config, max_resident=0), store) as (_, channel):
        stream, text = await begin(channel), ""
        for operation_id in range(2, 12):
            text += await stream.generated(operation_id, 5)
            await stream.send(99, close={"keep": True})
            await stream.until("closed")
            assert (await described(channel, SESSION_ID)).offset == len(PROMPT + text)
            stream, _ = await attach(channel)
        assert text == expected


@pytest.mark.parametrize("tokens", [100, 400])
async def test_a_session_that_leaves_has_a_state_to_wake_from(
    config: Config, store: LastingStore, tokens: int
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, tokens + 5)
    async with serving(replace(config, max_resident=0), store) as (daemon, channel):
        stream = await begin(channel)
        text = await stream.generated(2, tokens)
        await stream.send(99, close={"keep": True})
        await stream.until("closed")
        await until(lambda: SESSION_ID not in daemon.sessions)
        stream, _ = await attach(channel)
        state = store.load(SESSION_ID, 0).state
        assert state is None if tokens < 128 else state and state.tokens_read > tokens - 128
        assert text + await stream.generated(3, 5) == expected


async def test_a_session_at_work_stays(config: Config, store: LastingStore) -> None:
    async with serving(replace(config, max_resident=0, drain_timeout_s=0), store) as (
        daemon,
        channel,
    ):
        stream = await begin(channel, on_disconnect="ON_DISCONNECT_CONTINUE")
        await stream.send(2, generate={"max_tokens": 1_000_000})
        await stream.until("chunk")
        stream.call.cancel()
        await until(lambda: session_of(daemon).attachment is None)
        await stored_of(daemon).residents.shrunk()
        assert SESSION_ID in daemon.sessions
        assert session_of(daemon).left is None
        stream, attached = await attach(channel)
        assert attached.attached.operation_ids == [2]


async def test_many_wake_one_session_once(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel)
        await leave(daemon)
        loads = 0
        load = store.load

        def counted(session_id: str, last_tokens: int) -> StoredSession:
            nonlocal loads
            loads += 1
            return load(session_id, last_tokens)

        store.load = counted  # type: ignore[method-assign]
        all_described = await asyncio.gather(*(described(channel, SESSION_ID) for _ in range(20)))
        assert {session.offset for session in all_described} == {len(PROMPT)}
        assert loads == 1


async def test_a_damaged_record_hurts_its_own_session(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel)
        await begin(channel, session_id=OTHER_ID)
        await leave(daemon)
        await leave(daemon, OTHER_ID)
        load = store.load

        def damaged(session_id: str, last_tokens: int) -> StoredSession:
            if session_id == SESSION_ID:
                raise DamagedRecord("its state is damaged", session_id=session_id)
            return load(session_id, last_tokens)

        monkeypatch.setattr(store, "load", damaged)
        code, details = await status_of_attach(channel)
        assert code is grpc.StatusCode.DATA_LOSS
        assert "its state is damaged" in details
        _, attached = await attach(channel, OTHER_ID)
        assert attached.attached.offset == len(PROMPT)


async def test_a_store_that_cannot_be_read_is_unavailable(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel)
        await leave(daemon)

        def failing(*_: object) -> StoredSession:
            raise StoreFailed("the disk does not read")

        with monkeypatch.context() as context:
            context.setattr(store, "load", failing)
            code, _ = await status_of_attach(channel)
            assert code is grpc.StatusCode.UNAVAILABLE
        _, attached = await attach(channel)
        assert attached.attached.offset == len(PROMPT)


async def test_a_session_of_a_model_that_is_not_served_stays_stored(
    config: Config, store: LastingStore, tmp_path: Path
) -> None:
    from tests.server.tiny_cell import lstm_cell, write_cell

    async with serving(config, store) as (_, channel):
        await begin(channel)
    other = write_cell(tmp_path / "other.onnx", lstm_cell(8))
    async with serving(replace(config, models=(other,)), store) as (_, channel):
        code, details = await status_of_attach(channel)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "a model this daemon does not serve" in details
    async with serving(config, store) as (_, channel):
        assert await is_there(channel, SESSION_ID)


async def test_a_session_that_finds_no_room_wakes_later(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        await begin(channel)
    async with serving(replace(config, sessions=1), store) as (_, channel):
        other = stream_to(channel)
        await other.open()
        code, _ = await status_of_attach(channel)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await other.send(2, close={})
        await other.until("closed")
        _, attached = await attach(channel)
        assert attached.attached.offset == len(PROMPT)
