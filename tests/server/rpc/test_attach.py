"""Streams that break, and sessions that are kept."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from tests.server.rpc.conftest import (
    CAPACITY,
    GUARD_S,
    OpenStream,
    Stream,
    described,
    detach,
    is_there,
    text_of,
    until,
)

from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2
from cellwire.v1.sessions_pb2 import DeleteSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

CANCEL = operations_pb2.ON_DISCONNECT_CANCEL
PAUSE = operations_pb2.ON_DISCONNECT_PAUSE
CONTINUE = operations_pb2.ON_DISCONNECT_CONTINUE
LENGTH = 2_000


async def whole_text(stream: Stream) -> str:
    await stream.open(seed=3)
    await stream.ask(append={"text": "hello "})
    return await stream.generated(2, LENGTH)


async def begin(stream: Stream, on_disconnect: int) -> str:
    """Open a session that generates that text; return its id."""
    opened = await stream.open(seed=3, on_disconnect=on_disconnect)
    await stream.ask(append={"text": "hello "})
    await stream.send(2, generate={"max_tokens": LENGTH})
    return opened.opened.session_id


@pytest.mark.parametrize("on_disconnect", [PAUSE, CONTINUE])
async def test_missed_text_comes_first_and_then_the_rest(
    open_stream: OpenStream, channel: aio.Channel, on_disconnect: int
) -> None:
    whole = await whole_text(open_stream())
    first = open_stream()
    session_id = await begin(first, on_disconnect)
    text = (await first.until("chunk"))[-1].chunk.text
    first.call.cancel()
    await detach(channel, session_id)
    for length in (700, 1_300):
        stream = open_stream()
        await stream.send(7, attach={"session_id": session_id, "offset": 6 + len(text)})
        attached = (await stream.receive()).attached
        assert (attached.session_id, attached.seed) == (session_id, 3)
        text += attached.missed.text
        assert attached.offset == 6 + len(text)
        while len(text) < length:
            answer = await stream.receive()
            assert answer.chunk.offset == 6 + len(text)
            text += answer.chunk.text
        stream.call.cancel()
        await detach(channel, session_id)
    last = open_stream()
    await last.send(7, attach={"session_id": session_id, "offset": 6 + len(text)})
    answers = await last.until("finished")
    text += answers[0].attached.missed.text + text_of(answers)
    assert text == whole


async def test_cancel_ends_the_operations_and_keeps_the_session(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    whole = await whole_text(open_stream())
    first = open_stream()
    session_id = await begin(first, CANCEL)
    await first.until("chunk")
    first.call.cancel()
    await detach(channel, session_id)
    description = await described(channel, session_id)
    assert list(description.operation_ids) == []
    stream = open_stream()
    await stream.send(7, attach={"session_id": session_id, "offset": 6})
    attached = (await stream.receive()).attached
    written = attached.offset - 6
    assert attached.missed.text == whole[:written]
    finished = (await stream.receive()).finished  # of the generate that was cancelled
    assert finished.reason == operations_pb2.FINISH_REASON_CANCELLED
    assert await stream.generated(8, 100) == whole[written : written + 100]


async def test_continue_generates_it_all_without_a_stream(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    whole = await whole_text(open_stream())
    first = open_stream()
    session_id = await begin(first, CONTINUE)
    first.call.cancel()
    async with asyncio.timeout(GUARD_S):
        while (await described(channel, session_id)).offset < 6 + LENGTH:
            pass
    stream = open_stream()
    await stream.send(7, attach={"session_id": session_id, "offset": 6})
    answers = await stream.until("finished")
    assert answers[0].attached.offset == 6 + LENGTH
    assert answers[0].attached.missed.text == whole
    assert answers[-1].operation_id == 2


async def test_a_session_is_deleted_by_default(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    first = open_stream()
    session_id = (await first.open()).opened.session_id
    first.call.cancel()
    async with asyncio.timeout(GUARD_S):
        while await is_there(channel, session_id):
            pass
    stream = open_stream()
    await stream.send(attach={"session_id": session_id})
    assert await stream.call.code() is grpc.StatusCode.NOT_FOUND


async def test_a_session_has_one_stream_unless_another_takes_it(open_stream: OpenStream) -> None:
    first, second, third = open_stream(), open_stream(), open_stream()
    session_id = (await first.open(seed=3)).opened.session_id
    await first.ask(append={"text": "hello "})
    await second.send(attach={"session_id": session_id})
    assert await second.call.code() is grpc.StatusCode.FAILED_PRECONDITION
    await third.send(attach={"session_id": session_id, "takeover": True})
    assert (await third.receive()).attached.offset == 6
    assert await first.call.code() is grpc.StatusCode.ABORTED
    assert "taken the session over" in await first.call.details()
    assert await third.generated(2, 50) == (await whole_text(open_stream()))[:50]


async def test_an_offset_beyond_the_text_is_refused(open_stream: OpenStream) -> None:
    first, second, third = open_stream(), open_stream(), open_stream()
    session_id = (await first.open()).opened.session_id
    await first.ask(append={"text": "hello "})
    await first.ask(close={"keep": True})
    assert await first.call.code() is grpc.StatusCode.OK
    await second.send(attach={"session_id": session_id, "offset": 7})
    assert await second.call.code() is grpc.StatusCode.OUT_OF_RANGE
    await third.send(attach={"session_id": session_id})
    assert (await third.receive()).attached.offset == 6


async def test_an_idle_session_ends(open_stream: OpenStream, daemon: Daemon) -> None:
    first = open_stream()
    session_id = (await first.open(idle_timeout=Duration(seconds=1))).opened.session_id
    await first.ask(close={"keep": True})
    await first.end()
    live = daemon.sessions.find(session_id)
    assert live.expiry.running
    live.expiry.start(0.001, live.end)  # in place of a second
    await until(lambda: len(daemon.sessions) == 0)
    stream = open_stream()
    await stream.send(attach={"session_id": session_id})
    assert await stream.call.code() is grpc.StatusCode.NOT_FOUND


async def test_a_deleted_session_tells_its_stream(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    stream = open_stream()
    session_id = await begin(stream, PAUSE)
    request = DeleteSessionRequest(session_id=session_id)
    await SessionsServiceStub(channel).DeleteSession(request)
    assert await stream.end() == (grpc.StatusCode.ABORTED, "the session was deleted")


async def test_forks_without_a_stream_count_as_sessions(
    open_stream: OpenStream,
) -> None:
    stream = open_stream()
    await stream.open(idle_timeout=Duration(seconds=60))
    await stream.ask(append={"text": "hello "})
    answers = [await stream.ask(fork={}) for _ in range(CAPACITY + 3)]
    kinds = [answer.WhichOneof("answer") for answer in answers]
    assert kinds == ["forked"] * (CAPACITY - 1) + ["rejected"] * 4
    code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert all(a.rejected.status.code == code for a in answers[CAPACITY - 1 :])
