"""Sessions that cannot wake, or be copied: each says why, and no other is concerned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import described, holding_up, is_there, until
from tests.server.rpc.durable import (
    LATER,
    PROMPT,
    SESSION_ID,
    Clock,
    LastingStore,
    attach,
    begin,
    serving,
    session_of,
    stored_of,
    stream_to,
)

from cellwire.server.errors import DamagedRecord
from cellwire.server.host.config import Config
from cellwire.server.state.snapshot import from_bytes, to_bytes
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

OTHER_ID = "f" * 32


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


def with_settings(stored: StoredSession) -> StoredSession:
    header = replace(stored.head.header, settings={"idle_timeout_s": -1.0})
    return replace(stored, head=replace(stored.head, header=header))


def with_window(stored: StoredSession) -> StoredSession:
    header = replace(stored.head.header, rewind_window=10**9)
    return replace(stored, head=replace(stored.head, header=header))


def with_floor(stored: StoredSession) -> StoredSession:
    return replace(stored, rewind_floor=1_000)


def with_length(stored: StoredSession) -> StoredSession:
    return replace(stored, head=replace(stored.head, length=99))


@pytest.mark.parametrize("altered", [with_settings, with_window, with_floor, with_length])
async def test_what_is_stored_must_be_a_possible_session(
    config: Config,
    store: LastingStore,
    monkeypatch: pytest.MonkeyPatch,
    altered: Callable[[StoredSession], StoredSession],
) -> None:
    """Its records are whole, and what they say together cannot be."""
    async with serving(config, store) as (_, channel):
        await begin(channel)
        await begin(channel, session_id=OTHER_ID)
    load = store.load

    def load_altered(session_id: str, last_tokens: int) -> StoredSession:
        stored = load(session_id, last_tokens)
        return altered(stored) if session_id == SESSION_ID else stored

    async with serving(config, store) as (daemon, channel):
        with monkeypatch.context() as patched:
            patched.setattr(store, "load", load_altered)
            for _ in range(2):
                stream = stream_to(channel)
                await stream.send(attach={"session_id": SESSION_ID})
                code, details = await stream.end()
                assert code is grpc.StatusCode.DATA_LOSS
                assert f"what is stored of the session {SESSION_ID!r} cannot be used" in details
                assert SESSION_ID not in daemon.sessions
            assert await is_there(channel, OTHER_ID)
        assert (await described(channel, SESSION_ID)).tail == PROMPT


async def test_the_id_of_a_damaged_session_is_taken_until_it_is_deleted(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(session_id: str) -> StoredHead:
        raise DamagedRecord("its header is damaged", session_id=session_id)

    async with serving(config, store) as (_, channel):
        await begin(channel)
    async with serving(config, store) as (_, channel):
        with monkeypatch.context() as patched:
            patched.setattr(store, "head", damaged)
            stream = stream_to(channel)
            await stream.send(open={"session_id": SESSION_ID})
            assert (await stream.end())[0] is grpc.StatusCode.ALREADY_EXISTS
            request = sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
            await SessionsServiceStub(channel).DeleteSession(request)
        await begin(channel, text="another ")


async def test_a_session_that_is_not_durable_is_found_beside_a_store(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        await begin(channel, None)
        stream, attached = await attach(channel, offset=6, takeover=True)
        assert attached.attached.missed.text == PROMPT[6:]
        assert len(await stream.generated(2, 10)) == 10
    assert store.writes == []


async def test_an_import_with_impossible_settings_is_refused(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel)
        stub = SessionsServiceStub(channel)
        request = sessions_pb2.ExportSessionRequest(session_id=SESSION_ID)
        file = from_bytes((await stub.ExportSession(request)).snapshot, 10_000)
        snapshot = to_bytes(
            type(file)(file.version, file.model_sha256, {"idle_timeout_s": -1.0}, file.session)
        )
        with pytest.raises(aio.AioRpcError, match="the snapshot's settings") as raised:
            await stub.ImportSession(sessions_pb2.ImportSessionRequest(snapshot=snapshot))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(daemon.sessions) == 1


@pytest.mark.parametrize("durability", [None, LATER])
async def test_a_copy_whose_caller_has_gone_is_not_kept(
    config: Config, store: LastingStore, durability: str | None
) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel, durability)
        model = next(iter(daemon.registry))
        with holding_up(model):
            call = SessionsServiceStub(channel).ForkSession(
                sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id=OTHER_ID)
            )
            sent = asyncio.ensure_future(call)
            await until(lambda: OTHER_ID in daemon.sessions)
            call.cancel()
            await until(lambda: OTHER_ID not in daemon.sessions)
        with pytest.raises(asyncio.CancelledError):
            await sent
        assert not await is_there(channel, OTHER_ID)
        await stored_of(daemon).flushed()
        assert all(write.session_id == SESSION_ID for write in store.writes)


async def test_a_copy_without_room_leaves_nothing(config: Config, store: LastingStore) -> None:
    async with serving(replace(config, sessions=1), store) as (daemon, channel):
        await begin(channel)
        request = sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id=OTHER_ID)
        with pytest.raises(aio.AioRpcError) as raised:
            await SessionsServiceStub(channel).ForkSession(request)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert OTHER_ID not in daemon.sessions
        assert not await is_there(channel, OTHER_ID)


async def test_a_clock_that_jumps_takes_no_session_from_its_client(
    config: Config, store: LastingStore
) -> None:
    """Forward, as after a long sleep of the machine; and back, when a session lives longer."""
    clock = Clock()
    async with serving(config, store, clock) as (daemon, channel):
        stream = await begin(channel, idle_timeout={"seconds": 100})
        idle = await begin(channel, session_id=OTHER_ID, idle_timeout={"seconds": 100})
        await idle.send(2, close={"keep": True})
        await idle.until("closed")
        await until(lambda: session_of(daemon, OTHER_ID).attachment is None)
        await stored_of(daemon).flushed()
        clock.now_s -= 10_000
        await daemon.sweep.sweep()
        assert await is_there(channel, OTHER_ID)
        clock.now_s += 1_000_000
        await daemon.sweep.sweep()
        assert not await is_there(channel, OTHER_ID)
        assert len(await stream.generated(2, 10)) == 10
        await stored_of(daemon).flushed()
        assert store.expired(clock.now_s + 150) == []


async def test_what_is_told_to_be_safe_never_goes_back(config: Config, store: LastingStore) -> None:
    """And what comes unasked says more than all answers before it."""
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, rewind_window=64)
        told = operations_pb2.SafePoint()

        async def hear() -> StreamSessionResponse:
            nonlocal told
            response = await stream.receive()
            unasked = not response.operation_id
            assert response.safe.revision >= told.revision + unasked
            told = response.safe
            return response

        for number in range(21):
            if number % 7 == 0:
                store.open.clear()
            await stream.send(10 + 3 * number, append={"text": "more and "})
            await stream.send(11 + 3 * number, rewind={"tokens": 5})
            await stream.send(12 + 3 * number, generate={"max_tokens": 7})
            while not (last := await hear()).HasField("finished"):
                pass
            if number % 7 == 0:
                assert told.revision < last.revision
                store.open.set()
                while told.revision < last.revision:
                    await hear()
