"""Sessions taken over by another stream, and the streams that lose them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import (
    OpenStream,
    Stream,
    answer_of,
    described,
    holding_up,
    idle,
    is_there,
    until,
)

from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2

PAUSE = operations_pb2.ON_DISCONNECT_PAUSE
CONTINUE = operations_pb2.ON_DISCONNECT_CONTINUE
TAKEN = (grpc.StatusCode.ABORTED, "another stream has taken the session over")


async def begin(stream: Stream, on_disconnect: int = PAUSE, text: str = "hello ") -> str:
    opened = await stream.open(seed=3, on_disconnect=on_disconnect)
    await stream.ask(append={"text": text})
    return opened.opened.session_id


async def take(stream: Stream, session_id: str, operation_id: int = 1, **arguments: object) -> None:
    attach = {"session_id": session_id, "takeover": True, **arguments}
    await stream.send(operation_id, attach=attach)


async def passed_on(stream: Stream) -> None:
    """Wait until the stream has read what was sent: it rejects an empty message itself."""
    await stream.send(99)
    await stream.until("rejected")


async def taken(daemon: Daemon, session_id: str, operation_id: int) -> None:
    """Wait until a stream has taken the session."""
    live = daemon.sessions.find(session_id)
    await until(lambda: getattr(live.attachment, "_attach_id", 0) == operation_id)


async def test_a_stream_is_cut_while_its_first_message_is_written(
    open_stream: OpenStream, narrow_stream: OpenStream, daemon: Daemon
) -> None:
    first, second, third = open_stream(), narrow_stream(), open_stream()
    session_id = await begin(first, text="世" * 30_000)
    await take(second, session_id, 2, offset=0)
    await taken(daemon, session_id, 2)
    live = daemon.sessions.find(session_id)
    await until(lambda: not live.outbox.awaits_attach and not live.outbox.unread)
    await take(third, session_id, 3)
    assert (await third.receive()).attached.offset == 30_000
    assert await second.end() == TAKEN
    assert await first.end() == TAKEN


async def test_a_stream_that_does_not_read_is_cut(
    open_stream: OpenStream, narrow_stream: OpenStream, daemon: Daemon
) -> None:
    first, second = narrow_stream(), open_stream()
    session_id = await begin(first, CONTINUE)
    await first.send(2, generate={"max_tokens": 1_000_000, "top_alternatives": 20})
    await first.until("chunk")
    await idle(daemon)
    await take(second, session_id)
    offset = (await second.receive()).attached.offset
    assert (await second.until("chunk"))[-1].chunk.offset == offset
    assert await first.end() == TAKEN


async def test_of_many_takeovers_at_once_each_hears_its_end(open_stream: OpenStream) -> None:
    async def one(place: int) -> Stream:
        stream = open_stream()
        await take(stream, session_id, place, **({"offset": 99} if place == 1 else {}))
        with suppress(aio.AioRpcError):
            await stream.call.read()
        return stream

    session_id = await begin(open_stream())
    for _ in range(20):
        streams = await asyncio.gather(*map(one, range(4)))
        await one(9)
        ends = await asyncio.gather(*(stream.end() for stream in streams))
        assert {code for code, _ in ends} <= {grpc.StatusCode.ABORTED, grpc.StatusCode.OUT_OF_RANGE}


async def test_each_attach_has_its_own_answer(open_stream: OpenStream, daemon: Daemon) -> None:
    session_id = await begin(open_stream())
    (model,) = daemon.registry
    wrong, right = open_stream(), open_stream()
    with holding_up(model):
        await take(wrong, session_id, 2, offset=99)
        await taken(daemon, session_id, 2)
        await take(right, session_id, 3, offset=4)
        await taken(daemon, session_id, 3)
    answer = await right.receive()
    assert (answer.operation_id, answer.attached.missed.text) == (3, "o ")
    assert await wrong.end() == TAKEN


async def test_an_attach_that_fails_leaves_the_answers_to_the_next(
    open_stream: OpenStream, daemon: Daemon
) -> None:
    first, second, third = open_stream(), open_stream(), open_stream()
    session_id = await begin(first, CONTINUE)
    live = daemon.sessions.find(session_id)
    (model,) = daemon.registry
    with holding_up(model):
        await first.send(2, generate={"max_tokens": 20})
        await passed_on(first)
        first.call.cancel()
        await until(lambda: live.attachment is None)
    await until(lambda: bool(live.outbox.unread))
    await second.send(attach={"session_id": session_id, "offset": 999})
    assert await second.call.code() is grpc.StatusCode.OUT_OF_RANGE
    await third.send(3, attach={"session_id": session_id, "offset": 6})
    assert len((await third.receive()).attached.missed.text) == 20
    answer = await third.receive()
    assert (answer.operation_id, answer.WhichOneof("answer")) == (2, "finished")


async def test_an_attach_is_not_answered_with_the_close_of_another(
    open_stream: OpenStream, daemon: Daemon
) -> None:
    first, second = open_stream(), open_stream()
    session_id = await begin(first)
    (model,) = daemon.registry
    with holding_up(model):
        await first.send(9, close={})
        await passed_on(first)
        await take(second, session_id, 2)
        await taken(daemon, session_id, 2)
    with pytest.raises(aio.AioRpcError):
        await second.call.read()
    assert await second.call.code() is grpc.StatusCode.NOT_FOUND


async def test_the_end_of_a_stream_is_no_operation(
    open_stream: OpenStream, channel: aio.Channel, daemon: Daemon
) -> None:
    first, second = open_stream(), open_stream()
    session_id = await begin(first)
    await first.send(2, generate={"max_tokens": 1_000_000})
    await first.call.done_writing()
    (model,) = daemon.registry
    while not await answer_of(model, lambda e: e._sessions.find(session_id).queue.closing):
        pass
    assert list((await described(channel, session_id)).operation_ids) == [2]
    await take(second, session_id)
    assert list((await second.receive()).attached.operation_ids) == [2]


async def test_a_takeover_that_fails_leaves_a_session_whose_stream_broke(
    open_stream: OpenStream, channel: aio.Channel, daemon: Daemon
) -> None:
    (model,) = daemon.registry
    for on_disconnect in (operations_pb2.ON_DISCONNECT_UNSPECIFIED, PAUSE):
        first, second = open_stream(), open_stream()
        session_id = await begin(first, on_disconnect)
        await first.send(2, append={"text": "hello world " * 80_000})
        await take(second, session_id, offset=10**9)
        assert await second.call.code() is grpc.StatusCode.OUT_OF_RANGE
        assert await first.end() == TAKEN
        assert await answer_of(model, lambda engine: engine.idle)
        assert await is_there(channel, session_id) is (on_disconnect == PAUSE)
