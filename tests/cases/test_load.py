"""P: one user must not cost the others their time, nor the daemon its memory."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st
from tests.server.one_session import some_tokens
from tests.server.plain_stepper import PlainStepper
from tests.server.rpc.conftest import GUARD_S, NARROW, Stream, running, until
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.event_batcher import EventBatcher
from cellwire.server.errors import NotFound, ResourceExhausted
from cellwire.server.host import session_copies
from cellwire.server.host.config import Config
from cellwire.server.host.registry import Registry
from cellwire.server.host.session_directory import MAX_ID_CHARS, SessionDirectory
from cellwire.server.host.text_memory import MIB, SessionText, TextMemory
from cellwire.server.rpc import sessions_service
from cellwire.server.rpc.calls import MAX_RECEIVING
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.session.events import Appended, Finished, FinishReason, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Fork, Generate
from cellwire.server.session.stops import Stops
from cellwire.server.state.arena import Arena
from cellwire.server.state.snapshot import from_token_bytes, to_token_bytes
from cellwire.server.state.text_history import MAX_REMEMBERED
from cellwire.v1 import models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(4))


@pytest.fixture
def config(model: Path) -> Config:
    return Config(listen="127.0.0.1:0", models=(model,), sessions=20, threads=1, drain_timeout_s=5)


@pytest.fixture
async def daemon(config: Config) -> AsyncIterator[Daemon]:
    async with running(config) as daemon:
        yield daemon


@asynccontextmanager
async def connected(daemon: Daemon, *options: tuple[str, int]) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(daemon.address, options=[OWN_CONNECTION, *options]) as channel:
        yield channel


async def listed(channel: aio.Channel) -> int:
    async with asyncio.timeout(GUARD_S):
        response = await ModelsServiceStub(channel).ListModels(models_pb2.ListModelsRequest())
    return len(response.models)


# The engine's time: stop strings, searches, imports, many writers


def test_stop_strings_of_any_length_are_not_prepared_for() -> None:
    stops = [(number % 7, *([number % 3] * 1_023)) for number in range(16)]
    matching = Stops(stops)
    matchers = [matcher for group in matching._by_first.values() for matcher in group]
    assert sum(len(matcher._shorter) for matcher in matchers) == 2 * len(stops)
    for token in [0, 0, 0, 1, 2]:
        matching.feed(token)
    assert max(len(matcher._shorter) for matcher in matchers) <= 6  # no more than was matched


@given(st.integers(1, 40), st.integers(0, 60), st.integers(1, 3))
def test_stop_strings_of_a_few_symbols_are_found(length: int, before: int, period: int) -> None:
    """The text repeats a period, and so does the stop string."""
    stop = tuple(place % period for place in range(length))
    matching = Stops([stop, (9,) * 1_024])
    text = [*(place % period for place in range(before)), 8, *stop]
    found = [end for end, token in enumerate(text, start=1) if matching.feed(token) == stop]
    whole = [end for end in range(length, len(text) + 1) if tuple(text[end - length : end]) == stop]
    assert found == whole


def test_searches_of_many_widths_leave_plain_rows_every_second_turn() -> None:
    stepper = PlainStepper()
    limits = Limits(read_ahead_tokens=100_000)
    engine = Engine(stepper, Arena(6_000), limits, max_sessions=64, max_batch=256)
    for number in range(64):
        engine.handle(OpenSession(str(number), 0, number, 4))
        engine.handle(SubmitOperation(str(number), some_tokens(number % 7)))
    engine.step()
    engine.handle(SubmitOperation("0", Generate(2, 100_000, Sampling())))
    for width in range(2, 64):
        search = Complete(2, beam_width=width, completion_count=1, max_tokens=1_024)
        engine.handle(SubmitOperation(str(width), search))
    runs = [any(isinstance(event, Written) for event in engine.step()) for _ in range(60)]
    assert sum(runs) >= 30
    assert all(first or second for first, second in pairwise(runs))


def test_the_text_of_thousands_of_writers_waits_a_quarter_of_a_second() -> None:
    batcher = EventBatcher()
    batcher.due(10.0, idle=False)
    generate = Generate(2, 9, Sampling())
    texts = [Written(str(number), generate, 1, (5,), (-1.0,)) for number in range(4_095)]
    batcher.add([*texts])
    assert batcher.due(10.2, idle=False) == []
    assert batcher.due(10.26, idle=False) == texts


def test_the_tokens_of_a_snapshot_are_copied_as_bytes() -> None:
    tokens = array("I", range(MAX_REMEMBERED))
    copied = from_token_bytes(to_token_bytes(tokens))
    assert isinstance(copied, array)
    assert copied == tokens


def test_a_snapshot_is_read_on_a_machine_of_the_other_byte_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = array("I", [1, 80, 70_000])
    there.byteswap()
    monkeypatch.setattr("sys.byteorder", "big")
    assert from_token_bytes(to_token_bytes([1, 80, 70_000])) == there


# The memory for texts


async def test_texts_of_all_sessions_have_a_bound(config: Config) -> None:
    async with running(replace(config, text_memory=1)) as daemon, connected(daemon) as channel:
        stub = GenerationServiceStub(channel)
        streams = [Stream(stub.StreamSession()) for _ in range(2)]
        for stream in streams:
            await stream.open()
        appended = await streams[0].ask(append={"text": "hello " * 25_000})
        assert appended.appended.offset == 150_000
        daemon.sessions.memory.used_bytes += 450_000  # as if a symbol took four bytes
        rejected = (await streams[1].ask(append={"text": "hello " * 25_000})).rejected
        assert rejected.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert "0.6 of 1.0 MiB" in rejected.status.message
        assert "RetryInfo" in str(rejected.status.details)
        appended = await streams[1].ask(append={"text": "hello"})
        assert appended.appended.offset == 5
        await streams[0].send(2, close={})
        await streams[0].end()
        daemon.sessions.memory.used_bytes -= 450_000
        assert (await streams[1].ask(append={"text": "hello " * 25_000})).HasField("appended")


async def test_generates_that_wait_are_counted_with_their_stop_strings(config: Config) -> None:
    stops = ["hello" * times for times in range(185, 201)]  # 15,400 tokens: 0.6 MiB
    async with running(replace(config, text_memory=1)) as daemon, connected(daemon) as channel:
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        await stream.open(rewind_window=1_024)
        await stream.ask(append={"text": "hello"})
        await stream.send(2, generate={"max_tokens": 1_000_000})
        await stream.until("chunk")
        for operation_id in (3, 4):
            generate = {"max_tokens": 1, "stop_strings": stops}
            await stream.send(operation_id, generate=generate)
        rejected = (await stream.until("rejected"))[-1]
        assert rejected.operation_id == 4
        assert rejected.rejected.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        for operation_id in (3, 2):
            await stream.send(operation_id + 10, cancel={"operation_id": operation_id})
            finished = (await stream.until("finished"))[-1]
            assert finished.operation_id == operation_id
        remembered_bytes = min(finished.finished.offset, MAX_REMEMBERED)
        await until(lambda: daemon.sessions.memory.used_bytes == remembered_bytes)


async def test_sessions_are_not_opened_without_memory_for_their_text(config: Config) -> None:
    async with running(replace(config, text_memory=1)) as daemon, connected(daemon) as channel:
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        session_id = (await stream.open()).opened.session_id
        await stream.ask(append={"text": "hello " * 25_000})
        daemon.sessions.memory.used_bytes += 800_000  # of other sessions
        sessions: Any = SessionsServiceStub(channel)
        exported = await sessions.ExportSession(
            sessions_pb2.ExportSessionRequest(session_id=session_id)
        )
        refused = [
            sessions.ForkSession(sessions_pb2.ForkSessionRequest(session_id=session_id)),
            sessions.ImportSession(sessions_pb2.ImportSessionRequest(snapshot=exported.snapshot)),
        ]
        for call in refused:
            with pytest.raises(aio.AioRpcError, match="MiB; wait for answers"):
                await call
        assert (await stream.ask(fork={})).HasField("rejected")
        daemon.sessions.memory.used_bytes += MIB
        with pytest.raises(aio.AioRpcError, match="MiB; wait for answers"):
            await Stream(GenerationServiceStub(channel).StreamSession()).open()
        daemon.sessions.memory.used_bytes -= MIB + 800_000


def append_of(operation_id: int, length: int) -> Append:
    return replace(some_tokens(*[1] * length), id=operation_id)


ids, lengths = st.integers(1, 3), st.integers(0, 200_000)
happenings = st.one_of(
    st.builds(append_of, ids, st.integers(0, 9)),
    st.builds(lambda i, n: Appended("s", i, n, -1.0, ()), ids, lengths),
    st.builds(
        lambda i, n: Finished("s", i, FinishReason.MAX_TOKENS, n, generated_tokens=1), ids, lengths
    ),
    st.builds(lambda i: Rejected("s", i, NotFound("x")), ids),
    st.just(Fork(4, "t", 1)),
)


@given(st.lists(happenings, max_size=30))
def test_memory_is_given_back_whatever_happens(happened: list[Any]) -> None:
    memory = TextMemory(MIB)
    text, other = SessionText(memory, 2**32), SessionText(memory, 2**32)
    other.set_length(100)
    for event in happened:
        if isinstance(event, Fork) and memory.used_bytes > MIB // 2:
            with pytest.raises(ResourceExhausted):
                text.submit(event)
        elif isinstance(event, Append | Fork):
            text.submit(event)
        else:
            text.receive(event)
        assert 400 <= memory.used_bytes <= 400 + 4 * MAX_REMEMBERED + 30 * 9 * 8
    text.close()
    assert memory.used_bytes == 400
    text.submit(append_of(1, 9))  # on its way when the session was closed
    text.set_length(9)
    assert memory.used_bytes == 400


def test_full_memory_says_how_to_go_on() -> None:
    memory = TextMemory(2 * MIB)
    memory.check_room(2 * MIB)
    memory.used_bytes = MIB
    with pytest.raises(ResourceExhausted, match=r"take 1\.0 of 2\.0 MiB; .*--text-memory"):
        memory.check_room(MIB + 1)
    memory.used_bytes = 2 * MIB
    with pytest.raises(ResourceExhausted, match=r"take 2\.0 of 2\.0 MiB"):
        memory.check_room()


@pytest.mark.parametrize("length", [MAX_ID_CHARS + 1, 10_000_000])
def test_an_id_that_is_too_long_is_not_looked_for(length: int) -> None:
    class Id(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise AssertionError("it is looked for")

    directory = SessionDirectory(Registry.__new__(Registry), TextMemory(MIB))
    with pytest.raises(NotFound, match=f"{length:,}") as caught:
        directory.find(Id("x" * length))
    assert len(str(caught.value)) < 300


# The memory for messages


async def test_requests_of_a_connection_are_received_a_few_at_a_time(daemon: Daemon) -> None:
    async with connected(daemon) as slow, connected(daemon) as other:
        await listed(slow)
        calls: list[Any] = [
            slow.stream_unary("/cellwire.v1.SessionsService/ImportSession")()
            for _ in range(MAX_RECEIVING)
        ]
        await until(lambda: len(daemon._calls) == MAX_RECEIVING)
        waiting = asyncio.ensure_future(listed(slow))
        await until(lambda: len(daemon._calls) == MAX_RECEIVING + 1)
        assert await listed(other) == 1
        assert not waiting.done()
        calls[0].cancel()
        assert await waiting == 1
    await until(lambda: not len(daemon._calls))
    assert len(daemon._calls.receiving) == 0


async def long_session(channel: aio.Channel) -> str:
    """Return the id of a session whose snapshot is longer than what gRPC takes without a reader."""
    stream = Stream(GenerationServiceStub(channel).StreamSession())
    session_id = (await stream.open(on_disconnect="ON_DISCONNECT_CONTINUE")).opened.session_id
    await stream.ask(append={"text": "hello " * 25_000})
    await stream.send(9, close={"keep": True})
    await stream.end()
    return session_id


def exported(channel: aio.Channel, session_id: str) -> Any:  # noqa: ANN401
    """Export a session, as a stream: it is read only when it is asked for."""
    method: Any = channel.unary_stream(
        "/cellwire.v1.SessionsService/ExportSession",
        request_serializer=sessions_pb2.ExportSessionRequest.SerializeToString,
        response_deserializer=sessions_pb2.ExportSessionResponse.FromString,
    )
    return method(sessions_pb2.ExportSessionRequest(session_id=session_id))


async def test_unread_exports_are_made_one_at_a_time(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, made = session_copies.export, []

    async def counted(sessions: Any, session: Any) -> bytes:  # noqa: ANN401
        made.append(session)
        return await export(sessions, session)

    monkeypatch.setattr(session_copies, "export", counted)
    async with connected(daemon, *NARROW) as channel, connected(daemon) as other:
        session_id = await long_session(channel)
        calls = [exported(channel, session_id) for _ in range(5)]
        await until(lambda: len(daemon._calls) == len(calls))
        await until(lambda: len(made) == 1)
        async with asyncio.timeout(GUARD_S):
            assert await exported(other, session_id).read()  # another connection does not wait
            assert len(made) == 2
            for call in calls:  # in their order: the first was made first
                assert len((await call.read()).snapshot) > 600_000
                assert await call.read() is aio.EOF
        assert len(made) == len(calls) + 1


async def test_an_export_that_is_never_read_makes_way(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_service, "EXPORT_TIMEOUT_S", 0.05)
    async with connected(daemon, *NARROW) as channel:
        session_id = await long_session(channel)
        unread = [exported(channel, session_id) for _ in range(3)]
        async with asyncio.timeout(GUARD_S):
            await until(lambda: len(daemon._calls) > 0)
            await until(lambda: len(daemon._calls) == 0)
        del unread
