"""The ends of durable sessions are safe when they are told, and so are their copies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import described, is_there, until
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
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.errors import DamagedRecord
from cellwire.server.host import answer_gate, stored_sessions
from cellwire.server.host.config import Config
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

OTHER_ID = "f" * 32
DELETE = sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
DAMAGED = DamagedRecord("the record is damaged", session_id=SESSION_ID)


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.mark.parametrize("end", ["close", "half-close"])
async def test_a_close_is_answered_when_the_deletion_is_safe(
    config: Config, store: LastingStore, end: str
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST, on_disconnect="ON_DISCONNECT_DELETE")
        store.open.clear()
        await stream.send(2, append={"text": "more"})
        if end == "close":
            await stream.send(3, close={})
        else:
            await stream.call.done_writing()
        await until(lambda: session_of(daemon).gate.waiting == 2)
        assert [head.session_id for head in store.sessions()] == [SESSION_ID]
        store.open.set()
        assert (await answer(stream)).appended.offset == 16
        if end == "close":
            assert (await answer(stream)).HasField("closed")
        else:
            assert (await stream.end())[0] is grpc.StatusCode.OK
        assert store.sessions() == []
        assert not await is_there(channel, SESSION_ID)


async def test_a_close_with_safe_later_is_answered_behind_the_saves_before_it(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        for saves in (0, 2):
            stream = await begin(channel)
            store.open.clear()
            await stream.send(2, append={"text": "more"})
            assert (await answer(stream)).appended.offset == 16
            for operation_id in range(3, 3 + saves):
                await stream.send(operation_id, save={})
            await stream.send(9, close={})
            if saves:
                await until(lambda: session_of(daemon).gate.waiting == 3)
                store.open.set()
            answers = [response.operation_id for response in await stream.until("closed")]
            assert [number for number in answers if number] == [3, 4, 9][-saves - 1 :]
            store.open.set()
            await until(lambda: store.sessions() == [])
            await until(lambda: SESSION_ID not in daemon.sessions)


@pytest.mark.parametrize("durability", [LATER, FIRST])
@pytest.mark.parametrize("place", ["process", "store"])
async def test_a_deletion_is_answered_when_it_is_safe(
    config: Config, store: LastingStore, durability: str, place: str
) -> None:
    async with serving(config, store) as (daemon, channel):
        await begin(channel, durability)
        await stored_of(daemon).flushed()
        if place == "store":
            session_of(daemon).leave()
            await until(lambda: SESSION_ID not in daemon.sessions)
        store.open.clear()
        deleting = asyncio.create_task(_delete(channel))
        if place == "process":
            await until(lambda: SESSION_ID not in daemon.sessions)
        assert not deleting.done()
        assert len(store.sessions()) == 1
        store.open.set()
        await deleting
        assert store.sessions() == []


async def _delete(channel: aio.Channel) -> None:
    await SessionsServiceStub(channel).DeleteSession(DELETE)


async def test_a_deletion_that_the_store_refuses_is_not_told(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        await stored_of(daemon).flushed()
        store.refused = {SESSION_ID: DAMAGED}
        await stream.send(2, close={})
        assert await stream.end() == (grpc.StatusCode.DATA_LOSS, str(DAMAGED))
        await until(lambda: SESSION_ID not in daemon.sessions)
        with pytest.raises(aio.AioRpcError, match=str(DAMAGED)):
            await _delete(channel)
        store.refused = {}
        await _delete(channel)
        assert store.sessions() == []


async def test_a_deletion_that_takes_too_long_is_unavailable_and_done_later(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        await begin(channel, FIRST, session_id=OTHER_ID)
        monkeypatch.setattr(answer_gate, "SAFE_FIRST_TIMEOUT_S", 0.05)
        monkeypatch.setattr(stored_sessions, "SAFE_FIRST_TIMEOUT_S", 0.05)
        store.open.clear()
        await stream.send(2, close={})
        assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE
        request = sessions_pb2.DeleteSessionRequest(session_id=OTHER_ID)
        with pytest.raises(aio.AioRpcError, match="becomes safe when the store works") as raised:
            await SessionsServiceStub(channel).DeleteSession(request)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        store.open.set()
        await until(lambda: not len(daemon.sessions))
        assert store.sessions() == []


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_fork_while_draining_is_stored(
    config: Config, store: LastingStore, durability: str
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, durability)
        await stream.send(2, generate={"max_tokens": 3_000})
        await stream.send(3, fork={"session_id": OTHER_ID})
        while len((await described(channel, SESSION_ID)).operation_ids) < 2:
            pass
        stopping = asyncio.create_task(daemon.stop())
        *_, forked = await stream.until("forked")
        assert (forked.operation_id, forked.forked.session_id) == (3, OTHER_ID)
        assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE
        await stopping
    async with serving(config, store) as (_, channel):
        _, attached = await attach(channel, OTHER_ID)
        assert attached.attached.offset == len(PROMPT) + 3_000


@pytest.fixture
def ids_are_taken_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an id look free that is taken when the engine carries the operation out."""

    async def check_new(*_: object) -> None: ...

    monkeypatch.setattr(SessionDirectory, "check_new", check_new)


@pytest.mark.usefixtures("ids_are_taken_late")
async def test_a_fork_whose_id_is_taken_is_rejected(
    config: Config, store: LastingStore, tmp_path: Path
) -> None:
    """By a session of another model, of which the engine knows nothing."""
    other = write_cell(tmp_path / "other.onnx", lstm_cell(8))
    config = replace(config, models=(*config.models, other))
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, model=config.models[0].stem)
        holder = await begin(channel, session_id=OTHER_ID, model="other", text="mine")
        for operation_id in (2, 3):
            await stream.send(operation_id, fork={"session_id": OTHER_ID})
            status = (await answer(stream)).rejected.status
            assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
        assert len(await holder.generated(2, 10)) == 10
        assert (await described(channel, OTHER_ID)).model == "other"


@pytest.mark.usefixtures("ids_are_taken_late")
async def test_a_copy_that_the_store_refuses_is_not_told(
    config: Config, store: LastingStore
) -> None:
    """Its id is that of another session, which is only in the store."""
    async with serving(config, store) as (daemon, channel):
        await begin(channel, session_id=OTHER_ID, text="mine")
        session_of(daemon, OTHER_ID).leave()
        await until(lambda: OTHER_ID not in daemon.sessions)
        stream = await begin(channel, FIRST)
        await stream.send(2, fork={"session_id": OTHER_ID})
        status = (await answer(stream)).rejected.status
        assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
        with pytest.raises(aio.AioRpcError) as raised:
            await SessionsServiceStub(channel).ForkSession(
                sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id=OTHER_ID)
            )
        assert raised.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert (await described(channel, OTHER_ID)).tail == "mine"


async def test_forks_and_imports_are_answered_when_they_are_safe(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        stub = SessionsServiceStub(channel)
        await begin(channel, FIRST)
        await stored_of(daemon).flushed()
        exported = await stub.ExportSession(
            sessions_pb2.ExportSessionRequest(session_id=SESSION_ID)
        )
        calls = (
            stub.ForkSession(
                sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id="a" * 32)
            ),
            stub.ImportSession(
                sessions_pb2.ImportSessionRequest(
                    snapshot=exported.snapshot,
                    session_id="b" * 32,
                    durability=operations_pb2.DURABILITY_SAFE_FIRST,
                )
            ),
        )
        store.open.clear()
        making: list[asyncio.Future[Any]] = [asyncio.ensure_future(call) for call in calls]
        await until(lambda: len(daemon.sessions) == 3)
        assert not any(made.done() for made in making)
        store.open.set()
        for made in await asyncio.gather(*making):
            assert made.session.safe.revision == made.session.revision == 1


async def test_an_attach_to_a_session_that_is_being_deleted_finds_none(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, FIRST)
        store.open.clear()
        await stream.send(2, close={})
        await until(lambda: session_of(daemon).gate.waiting == 1)
        stream.call.cancel()
        await until(lambda: session_of(daemon).attachment is None)
        second = stream_to(channel)
        await second.send(attach={"session_id": SESSION_ID})
        await until(lambda: session_of(daemon).gate.waiting == 2)
        store.open.set()
        assert (await second.end())[0] is grpc.StatusCode.NOT_FOUND
        assert not await is_there(channel, SESSION_ID)
