"""Sessions from outside their streams: described, copied, exported and imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import OpenStream, Stream, running
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.host.config import Config
from cellwire.server.state.snapshot import VERSION, SnapshotFile, from_bytes, to_bytes
from cellwire.v1.sessions_pb2 import (
    ExportSessionRequest,
    ForkSessionRequest,
    GetSessionRequest,
    ImportSessionRequest,
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

if TYPE_CHECKING:
    from cellwire.v1.sessions_pb2_grpc import SessionsServiceAsyncStub

TEXT = "hello world, " * 12  # longer than a rewind window


@pytest.fixture
def sessions(channel: aio.Channel) -> SessionsServiceAsyncStub:
    return SessionsServiceStub(channel)


async def open_text(stream: Stream, text: str = TEXT) -> str:
    session_id = (await stream.open(seed=4)).opened.session_id
    await stream.ask(append={"text": text})
    return session_id


async def attached(stream: Stream, session_id: str) -> Stream:
    await stream.send(attach={"session_id": session_id})
    assert (await stream.receive()).WhichOneof("answer") == "attached"
    return stream


async def test_a_session_is_described(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub
) -> None:
    stream = open_stream()
    session_id = await open_text(stream)
    response = (await sessions.GetSession(GetSessionRequest(session_id=session_id))).session
    assert (response.offset, response.tail, response.attached) == (len(TEXT), TEXT, True)
    assert response.model == "tiny"


async def test_an_imported_session_continues_bit_for_bit(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub
) -> None:
    stream = open_stream()
    session_id = await open_text(stream)
    before = await stream.generated(5, 30)
    exported = await sessions.ExportSession(ExportSessionRequest(session_id=session_id))
    request = ImportSessionRequest(snapshot=exported.snapshot)
    copies = [(await sessions.ImportSession(request)).session for _ in range(2)]
    assert copies[0].offset == len(TEXT) + 30
    one = await attached(open_stream(), copies[0].session_id)
    other = await attached(open_stream(), copies[1].session_id)
    assert (await other.ask(rewind={"tokens": 64})).rewound.offset == len(TEXT) - 34
    assert (await stream.ask(append={"text": "x"})) == (await one.ask(append={"text": "x"}))
    after = await stream.generated(6, 100)
    assert await one.generated(6, 100) == after
    assert (await stream.ask(rewind={"tokens": 30})) == (await one.ask(rewind={"tokens": 30}))
    assert await one.generated(7, 50) == await stream.generated(7, 50)
    appended = await other.ask(append={"text": (TEXT + before)[-64:]})
    assert appended.appended.offset == len(TEXT) + 30


async def test_a_fork_from_outside_is_a_copy(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub
) -> None:
    stream = open_stream()
    session_id = await open_text(stream)
    request = ForkSessionRequest(session_id=session_id, seed=4)
    forked = (await sessions.ForkSession(request)).session
    assert forked.offset == len(TEXT)
    copy = await attached(open_stream(), forked.session_id)
    assert await copy.generated(5, 60) == await stream.generated(5, 60)


async def test_an_imported_session_has_one_rewind_window(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub
) -> None:
    stream = open_stream()
    session_id = (await stream.open(seed=4, rewind_window=0)).opened.session_id
    await stream.ask(append={"text": TEXT})
    exported = await sessions.ExportSession(ExportSessionRequest(session_id=session_id))
    snapshot = from_bytes(exported.snapshot, max_state_bytes=1_000)
    lie = SnapshotFile(
        VERSION,
        snapshot.model_sha256,
        {**snapshot.settings, "rewind_window": 1_024},
        snapshot.session,
    )
    imported = await sessions.ImportSession(ImportSessionRequest(snapshot=to_bytes(lie)))
    copy = await attached(open_stream(), imported.session.session_id)
    # A stop string is taken back by a rewind, so a second window would let it fail.
    answer = await copy.ask(generate={"max_tokens": 200, "stop_strings": list("abcdefgh")})
    assert "a rewind_window of 0" in answer.rejected.status.message


async def test_a_snapshot_of_unknown_symbols_is_refused(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub
) -> None:
    session_id = await open_text(open_stream())
    exported = await sessions.ExportSession(ExportSessionRequest(session_id=session_id))
    snapshot = from_bytes(exported.snapshot, max_state_bytes=1_000)
    beyond = len(snapshot.session.token_bytes) // 4 * (255).to_bytes(4, "little")
    lie = SnapshotFile(
        VERSION,
        snapshot.model_sha256,
        snapshot.settings,
        replace(snapshot.session, token_bytes=beyond),
    )
    with pytest.raises(aio.AioRpcError) as caught:
        await sessions.ImportSession(ImportSessionRequest(snapshot=to_bytes(lie)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "symbols that the model does not know" in (caught.value.details() or "")


@pytest.mark.parametrize("change", ["cut", "flip", "other"])
async def test_a_broken_snapshot_is_refused(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub, change: str
) -> None:
    session_id = await open_text(open_stream())
    exported = await sessions.ExportSession(ExportSessionRequest(session_id=session_id))
    snapshot = bytearray(exported.snapshot)
    if change == "cut":
        del snapshot[-1]
    elif change == "flip":
        snapshot[len(snapshot) // 2] ^= 1
    else:
        snapshot[:] = b"something else"
    with pytest.raises(aio.AioRpcError) as caught:
        await sessions.ImportSession(ImportSessionRequest(snapshot=bytes(snapshot)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_snapshot_of_another_model_is_refused(
    open_stream: OpenStream, sessions: SessionsServiceAsyncStub, tmp_path: Path
) -> None:
    session_id = await open_text(open_stream())
    exported = await sessions.ExportSession(ExportSessionRequest(session_id=session_id))
    other = write_cell(tmp_path / "tiny.onnx", lstm_cell(16, seed=1))
    config = Config(listen="127.0.0.1:0", models=(other,), sessions=4, threads=1)
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        request = ImportSessionRequest(snapshot=exported.snapshot)
        with pytest.raises(aio.AioRpcError) as caught:
            await SessionsServiceStub(channel).ImportSession(request)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "does not serve" in (caught.value.details() or "")


@pytest.mark.parametrize("call", ["GetSession", "ForkSession", "ExportSession", "DeleteSession"])
async def test_an_unknown_session_is_not_found(
    sessions: SessionsServiceAsyncStub, call: str
) -> None:
    import cellwire.v1.sessions_pb2 as messages

    request = getattr(messages, f"{call}Request")(session_id="nobody")
    with pytest.raises(aio.AioRpcError) as caught:
        await getattr(sessions, call)(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
