"""S: streams and calls that were lost, or hung."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.cases.raw_http2 import GOAWAY, PING, Connection
from tests.server.rpc.conftest import GUARD_S, Stream, running
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.host.config import Config
from cellwire.server.rpc import daemon as daemon_module
from cellwire.server.rpc import options, wire
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

SESSIONS = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(4))


@pytest.fixture
def config(model: Path) -> Config:
    return Config(
        listen="127.0.0.1:0", models=(model,), sessions=SESSIONS, threads=1, drain_timeout_s=5
    )


@pytest.fixture
async def daemon(config: Config) -> AsyncIterator[Daemon]:
    async with running(config) as daemon:
        yield daemon


@pytest.fixture
async def channel(daemon: Daemon) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(daemon.address) as channel:
        yield channel


# Pings


def test_clients_may_ping_every_five_seconds() -> None:
    found = dict(options.of_server(SESSIONS))
    assert found["grpc.http2.min_ping_interval_without_data_ms"] < 5_000
    assert found["grpc.keepalive_permit_without_calls"] == 1


async def test_pings_are_let_live_without_calls(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "PINGS_APART_MS", 0)  # so that none comes too soon
    async with running(config) as daemon, Connection.to(daemon.address) as connection:
        async with asyncio.timeout(GUARD_S):
            kinds = [(await connection.ping()).kind for _ in range(10)]
    assert kinds == [PING] * 10


async def test_a_flood_of_pings_ends_the_connection(daemon: Daemon) -> None:
    async with Connection.to(daemon.address) as connection:
        async with asyncio.timeout(GUARD_S):
            while (frame := await connection.ping()).kind == PING:
                pass
    assert frame.kind == GOAWAY
    assert b"too_many_pings" in frame.payload


# Bursts


async def outcome(stub: Any) -> str:  # noqa: ANN401  # gRPC's stubs have no public type
    """Open a session; return its answer's kind, or the status."""
    stream = Stream(stub.StreamSession())
    try:
        return (await stream.open()).WhichOneof("answer") or "nothing"
    except aio.AioRpcError as error:
        return error.code().name


async def test_sessions_opened_at_once_are_all_opened(channel: aio.Channel) -> None:
    stub = GenerationServiceStub(channel)
    outcomes = Counter(await asyncio.gather(*(outcome(stub) for _ in range(SESSIONS))))
    assert outcomes == {"opened": SESSIONS}


def test_gRPC_refuses_nothing_that_the_daemon_would_take() -> None:  # noqa: N802  # its name
    sessions = 4_096
    found = dict(options.of_server(sessions))
    for name in ("max_pending_requests", "max_pending_requests_hard_limit"):
        assert found[f"grpc.server.{name}"] >= sessions
    assert found["grpc.max_concurrent_streams"] >= sessions


async def test_calls_beyond_the_bound_are_told_when_to_try_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "CALLS_FOR_A_SESSION", 0)
    monkeypatch.setattr(options, "OTHER_CALLS", 1)
    async with (
        running(config) as daemon,
        aio.insecure_channel(daemon.address) as first,
        aio.insecure_channel(
            daemon.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as second,
    ):
        await Stream(GenerationServiceStub(first).StreamSession()).open()
        with pytest.raises(aio.AioRpcError) as caught:
            await ModelsServiceStub(second).ListModels(models_pb2.ListModelsRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1 calls are under way" in (caught.value.details() or "")
    assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())  # with RetryInfo


# Calls without a message, or with one that is none


async def no_requests() -> AsyncIterator[bytes]:
    return
    yield b""


async def test_a_call_that_is_half_closed_without_a_message_is_answered(
    channel: aio.Channel,
) -> None:
    call: Any = channel.stream_unary("/cellwire.v1.ModelsService/ListModels")
    with pytest.raises(aio.AioRpcError) as caught:
        async with asyncio.timeout(GUARD_S):
            await call(no_requests())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "without a request" in (caught.value.details() or "")


@pytest.mark.parametrize(
    "service", ["cellwire.v1.ModelsService/ListModels", "grpc.health.v1.Health/Check"]
)
async def test_a_request_that_does_not_come_ends_the_call(
    channel: aio.Channel, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "FIRST_MESSAGE_TIMEOUT_S", 0.01)
    call: Any = channel.stream_unary(f"/{service}")()
    async with asyncio.timeout(GUARD_S):
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await call.details() == "no request came within 0.01 s"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x7f", b"\x0a\x02\xc3\x28"])
@pytest.mark.parametrize(
    "method",
    [
        "cellwire.v1.GenerationService/Complete",
        "cellwire.v1.GenerationService/Generate",
        "cellwire.v1.ModelsService/GetModel",
        "cellwire.v1.SessionsService/DeleteSession",
        "grpc.health.v1.Health/Check",
    ],
)
async def test_bytes_that_are_no_request_are_invalid(
    channel: aio.Channel, method: str, data: bytes
) -> None:
    call: Any = channel.unary_unary(f"/{method}")
    with pytest.raises(aio.AioRpcError) as caught:
        await call(data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("character", ["x", "\u4e16", "\U0001f600", "\u0301", "\x00"])
@pytest.mark.parametrize("length", [64, 65, 1_000, 100_000])
async def test_a_name_of_any_length_is_not_found(
    channel: aio.Channel, character: str, length: int
) -> None:
    name = character * length
    calls: list[Any] = [
        SessionsServiceStub(channel).GetSession(sessions_pb2.GetSessionRequest(session_id=name)),
        ModelsServiceStub(channel).GetModel(models_pb2.GetModelRequest(name=name)),
    ]
    for call in calls:
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert len((caught.value.details() or "").encode()) < 2_000


# The end of the daemon


async def test_a_watch_hears_of_the_end_and_ends_without_a_traceback(
    config: Config, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [
            stub.Watch(health_pb2.HealthCheckRequest(service=service))
            for service in ("", "cellwire.v1.ModelsService", "no.such.Service")
        ]
        statuses = [(await watch.read()).status for watch in watches]
        async with asyncio.timeout(GUARD_S):
            await daemon.stop()
        last = [(await watch.read()).status for watch in watches]
        codes = [await watch.code() for watch in watches]
    response = health_pb2.HealthCheckResponse
    assert statuses == [response.SERVING, response.SERVING, response.SERVICE_UNKNOWN]
    assert last == [response.NOT_SERVING, response.NOT_SERVING, response.SERVICE_UNKNOWN]
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 3
    assert caplog.records == []
    assert "Traceback" not in capfd.readouterr().err


async def test_health_is_checked(channel: aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    check = await stub.Check(health_pb2.HealthCheckRequest(service="cellwire.v1.SessionsService"))
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(aio.AioRpcError, match="no service 'x'"):
        await stub.Check(health_pb2.HealthCheckRequest(service="x"))


async def test_calls_that_are_left_at_the_end_are_cut_with_a_status(
    config: Config, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon_module, "_LAST_WRITES_S", 0.01)
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        silent: Any = channel.stream_unary("/cellwire.v1.ModelsService/ListModels")()
        await silent.wait_for_connection()
        while not len(daemon._calls):  # noqa: ASYNC110  # until it has come
            await asyncio.sleep(0)
        async with asyncio.timeout(GUARD_S):
            await daemon.stop()
        assert await silent.code() is grpc.StatusCode.UNAVAILABLE
        assert await silent.details() == "the daemon is shutting down"
    assert "Traceback" not in capfd.readouterr().err
