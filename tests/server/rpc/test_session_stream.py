"""StreamSession over a real socket: one client, and clients beside it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import (
    CAPACITY,
    GUARD_S,
    OpenStream,
    Stream,
    idle,
    text_of,
    timers_of_sessions,
)

from cellwire.server.engine.commands import Command, GrantTokens
from cellwire.server.engine.engine import Engine
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import GenerateRequest
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub

NEIGHBOUR_SEED = 77


async def text_alone(stream: Stream, seed: int, max_tokens: int) -> str:
    await stream.open(seed=seed)
    await stream.send(1, append={"text": "hello world"})
    await stream.until("appended")
    text = await stream.generated(2, max_tokens, sampling={"temperature": 0.9, "top_k": 9})
    await stream.send(3, close={})
    await stream.until("closed")
    return text


async def test_open_append_generate_close(open_stream: OpenStream) -> None:
    stream = open_stream()
    opened = (await stream.open(seed=5)).opened
    assert len(opened.session_id) == 32
    assert opened.seed == 5
    assert opened.model.name == "tiny"
    await stream.send(1, append={"text": "hello"})
    appended = await stream.receive()
    assert appended.operation_id == 1
    assert appended.appended.offset == 5
    assert -100 < appended.appended.log_probability < 0
    await stream.send(2, generate={"max_tokens": 30, "log_probabilities": True})
    answers = await stream.until("finished")
    assert {answer.operation_id for answer in answers} == {2}
    offset = 5
    for answer in answers[:-1]:
        assert answer.chunk.offset == offset
        assert len(answer.chunk.log_probabilities) == len(answer.chunk.text)
        offset += len(answer.chunk.text)
    finished = answers[-1].finished
    assert finished.reason == operations_pb2.FINISH_REASON_MAX_TOKENS
    assert (finished.offset, offset, finished.usage.generated_tokens) == (35, 35, 30)
    await stream.send(3, close={})
    assert (await stream.receive()).WhichOneof("answer") == "closed"
    assert await stream.call.read() is aio.EOF
    assert await stream.call.code() is grpc.StatusCode.OK


async def test_a_session_in_pieces_writes_what_one_in_one_go_writes(
    open_stream: OpenStream,
) -> None:
    whole, pieces = open_stream(), open_stream()
    expected = await text_alone(whole, 3, 60)
    await pieces.open(seed=3)
    for operation_id, text in enumerate(["hel", "l", "o world"], start=1):
        await pieces.send(operation_id, append={"text": text})
    text = ""
    for operation_id in range(10, 70):
        text += await pieces.generated(operation_id, 1, sampling={"temperature": 0.9, "top_k": 9})
    assert text == expected


async def test_sessions_write_the_same_alone_and_together(open_stream: OpenStream) -> None:
    alone = [await text_alone(open_stream(), seed, 120) for seed in range(50)]
    together = await asyncio.gather(*(text_alone(open_stream(), s, 120) for s in range(50)))
    assert together == alone
    assert len(set(alone)) == 50


async def test_generate_call_writes_what_a_session_writes(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    expected = await text_alone(open_stream(), 8, 50)
    request = GenerateRequest(
        open=operations_pb2.Open(seed=8),
        prompt=operations_pb2.Append(text="hello world"),
        generate=operations_pb2.Generate(
            max_tokens=50, sampling=operations_pb2.Sampling(temperature=0.9, top_k=9)
        ),
    )
    call = GenerationServiceStub(channel).Generate(request)
    responses = [response async for response in call]
    assert "".join(response.chunk.text for response in responses) == expected
    usage = responses[-1].finished.usage
    assert (usage.appended_tokens, usage.generated_tokens) == (11, 50)


async def test_a_generate_call_grants_the_tokens_it_has_written(
    open_stream: OpenStream, channel: aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: dict[str, int] = {}  # by session
    handle = Engine.handle

    def note_grant(engine: Engine, command: Command) -> None:
        if isinstance(command, GrantTokens):
            granted[command.session_id] = granted.get(command.session_id, 0) + command.tokens
        handle(engine, command)

    monkeypatch.setattr(Engine, "handle", note_grant)
    chars = 5 * 200  # the daemon's read_ahead_chars
    request = GenerateRequest(
        open=operations_pb2.Open(seed=8),
        prompt=operations_pb2.Append(text="hello world"),
        generate=operations_pb2.Generate(
            max_tokens=chars, sampling=operations_pb2.Sampling(temperature=0.9, top_k=9)
        ),
    )
    async with asyncio.timeout(GUARD_S):
        answers = [answer async for answer in GenerationServiceStub(channel).Generate(request)]
    text = "".join(answer.chunk.text for answer in answers)
    assert text == await text_alone(open_stream(), 8, chars)  # a later session: all has come
    assert next(iter(granted.values())) == chars


BAD_OPERATIONS = [
    ({"append": {"text": "naïve"}}, grpc.StatusCode.INVALID_ARGUMENT, "'ï' (U+00EF) at offset 2"),
    ({"append": {"text": ""}}, grpc.StatusCode.INVALID_ARGUMENT, "empty"),
    ({"append": {}}, grpc.StatusCode.INVALID_ARGUMENT, "empty"),
    ({"append": {"text": "a" * 10_000_000}}, grpc.StatusCode.INVALID_ARGUMENT, "10,000,000"),
    ({"generate": {"max_tokens": 0}}, grpc.StatusCode.INVALID_ARGUMENT, "max_tokens is 0"),
    ({"generate": {"max_tokens": 10_000_000}}, grpc.StatusCode.INVALID_ARGUMENT, "10000000"),
    (
        {"generate": {"max_tokens": 1, "sampling": {"temperature": math.nan}}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "temperature is nan",
    ),
    (
        {"generate": {"max_tokens": 1, "sampling": {"temperature": -1}}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "temperature is -1",
    ),
    ({"open": {}}, grpc.StatusCode.INVALID_ARGUMENT, "comes first, and once"),
    ({"cancel": {"operation_id": 99}}, grpc.StatusCode.NOT_FOUND, "no operation 99"),
    ({}, grpc.StatusCode.INVALID_ARGUMENT, "no operation"),
]


@pytest.mark.parametrize(("operation", "code", "words"), BAD_OPERATIONS)
async def test_a_bad_operation_fails_alone(
    open_stream: OpenStream, operation: dict[str, object], code: grpc.StatusCode, words: str
) -> None:
    expected = await text_alone(open_stream(), NEIGHBOUR_SEED, 300)
    neighbour = asyncio.create_task(text_alone(open_stream(), NEIGHBOUR_SEED, 300))
    stream = open_stream()
    await stream.open(seed=1)
    await stream.send(1, append={"text": "hello"})
    await stream.receive()
    await stream.send(2, **operation)
    rejected = await stream.receive()
    assert rejected.operation_id == 2
    assert rejected.rejected.status.code == code.value[0]
    assert words in rejected.rejected.status.message
    untouched = open_stream()
    await untouched.open(seed=1)
    await untouched.send(1, append={"text": "hello"})
    await untouched.receive()
    assert await stream.generated(3, 20) == await untouched.generated(3, 20)
    assert await neighbour == expected


async def test_generate_before_any_text_is_refused(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open()
    await stream.send(1, generate={"max_tokens": 5})
    status = (await stream.receive()).rejected.status
    assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "append some first" in status.message


async def test_an_operation_id_in_use_is_refused(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open()
    await stream.send(1, append={"text": "hello"})
    await stream.receive()
    await stream.send(2, generate={"max_tokens": 1_000_000})
    await stream.send(2, append={"text": "x"})
    answers = await stream.until("rejected")
    assert "operation 2 is still running" in answers[-1].rejected.status.message


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"append": {"text": "a"}}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"generate": {"max_tokens": 3}}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"open": {"model": "nobody"}}, grpc.StatusCode.NOT_FOUND),
        ({}, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_stream_that_begins_wrong_ends_with_the_status(
    open_stream: OpenStream, first: dict[str, object], code: grpc.StatusCode
) -> None:
    stream = open_stream()
    await stream.send(1, **first)
    assert await stream.call.code() is code


async def test_a_stream_without_a_message_ends_with_the_status(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.call.done_writing()
    assert await stream.call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_half_close_finishes_what_was_sent(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.send(open={"seed": 1})
    await stream.send(1, append={"text": "hello"})
    await stream.send(2, generate={"max_tokens": 400})
    await stream.call.done_writing()
    answers = await stream.until("finished")
    assert len(text_of(answers)) == 400
    assert await stream.call.read() is aio.EOF
    assert await stream.call.code() is grpc.StatusCode.OK


async def test_cancel_reaches_what_runs_after_close_was_sent(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open()
    await stream.send(1, append={"text": "hello"})
    await stream.until("appended")
    await stream.send(2, generate={"max_tokens": 1_000_000})
    await stream.send(3, close={})
    await stream.send(4, append={"text": "too late"})
    await stream.send(5, cancel={"operation_id": 2})
    answers = [a for a in await stream.until("closed") if a.WhichOneof("answer") != "chunk"]
    assert [(a.operation_id, a.WhichOneof("answer")) for a in answers] == [
        (4, "rejected"),
        (2, "finished"),
        (5, "cancelled"),
        (3, "closed"),
    ]
    assert "closing" in answers[0].rejected.status.message


async def test_a_close_that_is_refused_closes_nothing(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open()
    await stream.send(1, append={"text": "hello"})
    await stream.send(2, generate={"max_tokens": 1_000_000})
    await stream.send(2, close={})
    await stream.until("rejected")
    await stream.send(3, cancel={"operation_id": 2})
    await stream.until("cancelled")
    assert len(await stream.generated(4, 10)) == 10


async def test_bytes_that_are_no_message_end_the_stream(channel: aio.Channel) -> None:
    method: Any = channel.stream_stream("/cellwire.v1.GenerationService/StreamSession")
    not_utf_8 = b"\x1a\x04\x0a\x02\xff\xfe"
    for messages in ([not_utf_8], [b"\x12\x00", not_utf_8]):
        call = method()
        for message in messages:
            await call.write(message)
        with pytest.raises(aio.AioRpcError) as caught:
            [response async for response in call]
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_very_long_name_is_not_found_either(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.send(open={"model": "x" * 100_000})
    assert await stream.call.code() is grpc.StatusCode.NOT_FOUND


async def test_cancel_overtakes_and_the_session_lives(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open(seed=4)
    await stream.send(1, append={"text": "hello"})
    await stream.send(2, generate={"max_tokens": 1_000_000})
    await stream.send(3, append={"text": " and then"})
    await stream.until("chunk")
    await stream.send(4, cancel={"operation_id": 2})
    finished = (await stream.until("finished"))[-1]
    assert finished.operation_id == 2
    assert finished.finished.reason == operations_pb2.FINISH_REASON_CANCELLED
    answers = await stream.until("appended")
    assert [a.operation_id for a in answers] == [4, 3]
    assert answers[-1].appended.offset == finished.finished.offset + len(" and then")


async def test_a_reader_that_stops_pauses_only_itself(
    open_stream: OpenStream, narrow_stream: OpenStream, daemon: Daemon
) -> None:
    """A session whose client does not read stalls; the one beside it runs to its end."""
    slow = narrow_stream()
    await slow.open(seed=1)
    await slow.send(1, append={"text": "a"})
    await slow.send(2, generate={"max_tokens": 1_000_000})
    await slow.until("chunk")
    assert len(await text_alone(open_stream(), 2, 2_000)) == 2_000
    await idle(daemon)  # so the slow one has stalled, far from its end
    await slow.send(3, cancel={"operation_id": 2})
    answers = await slow.until("finished")
    assert len(text_of(answers)) < 100_000
    assert answers[-1].finished.reason == operations_pb2.FINISH_REASON_CANCELLED


async def test_too_many_waiting_operations_are_refused(open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open()
    await stream.send(1, append={"text": "a"})
    await stream.send(2, generate={"max_tokens": 1_000_000})
    for operation_id in range(3, 70):
        await stream.send(operation_id, append={"text": "b"})
    rejected = (await stream.until("rejected"))[-1]
    assert rejected.operation_id == 67
    assert rejected.rejected.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert rejected.rejected.status.details[0].TypeName() == "google.rpc.RetryInfo"


async def test_clients_that_vanish_give_their_slots_back(open_stream: OpenStream) -> None:
    """Three times as many sessions as there is room for, each abandoned in mid-stream."""
    for _ in range(3 * CAPACITY):
        stream = open_stream()
        await stream.open()
        await stream.send(1, append={"text": "hello"})
        await stream.send(2, generate={"max_tokens": 1_000_000})
        await stream.until("chunk")
        stream.call.cancel()
    assert len(await text_alone(open_stream(), 1, 100)) == 100


async def test_a_full_daemon_says_so_and_serves_on(open_stream: OpenStream) -> None:
    streams = [open_stream() for _ in range(CAPACITY)]
    for stream in streams:
        await stream.open()
    one_too_many = open_stream()
    await one_too_many.send(open={})
    assert await one_too_many.call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not timers_of_sessions()
    await streams[0].send(1, close={})
    await streams[0].until("closed")
    await open_stream().open()


async def test_draining_finishes_what_runs_and_refuses_what_is_new(
    open_stream: OpenStream, daemon: Daemon
) -> None:
    busy, idle = open_stream(), open_stream()
    await busy.open(seed=1)
    await idle.open()
    await busy.send(1, append={"text": "hello"})
    await busy.send(2, generate={"max_tokens": 3_000})
    await busy.until("chunk")
    stopping = asyncio.create_task(daemon.stop())
    assert await idle.call.code() is grpc.StatusCode.UNAVAILABLE
    answers = await busy.until("finished")
    assert answers[-1].finished.usage.generated_tokens == 3_000
    assert await busy.call.code() is grpc.StatusCode.UNAVAILABLE
    await stopping
