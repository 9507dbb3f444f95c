"""The daemon itself: addresses it refuses, engines that fail, operations that take too long."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, OpenStream, Stream, running
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.errors import BadModel
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import CannotListen
from cellwire.server.host.config import Config
from cellwire.server.rpc import generation_service
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.rpc.reading import Reader
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub


def config(*models: Path, listen: str = "127.0.0.1:0", drain_timeout_s: float = 5) -> Config:
    return Config(
        listen=listen, models=models, sessions=4, threads=1, drain_timeout_s=drain_timeout_s
    )


@pytest.mark.parametrize("listen", ["nonsense", ":1", "127.0.0.1:", "127.0.0.1:x", "a:65536"])
async def test_an_address_that_is_none_is_refused(model: Path, listen: str) -> None:
    with pytest.raises(CannotListen, match="give HOST:PORT"):
        await Daemon(config(model, listen=listen)).__aenter__()


async def test_a_taken_port_is_refused(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match="the port is taken"):
            await Daemon(config(model, listen=address)).__aenter__()


async def test_two_models_of_one_name_are_refused(model: Path, tmp_path: Path) -> None:
    double = write_cell(tmp_path / model.name, lstm_cell(2))
    with pytest.raises(BadModel, match="would both be named 'tiny'"):
        await Daemon(config(model, double)).__aenter__()


async def test_an_engine_that_fails_is_reported_and_drains_at_once(model: Path) -> None:
    def fault(_: Engine) -> None:
        raise RuntimeError("a fault")

    async with (
        Daemon(config(model, drain_timeout_s=100)) as daemon,
        aio.insecure_channel(daemon.address) as channel,
    ):
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        await stream.open()
        (tiny,) = daemon.registry
        tiny.loop.call(fault)
        async with asyncio.timeout(GUARD_S):
            assert str(await daemon.crashed) == "a fault"
            await daemon.stop()
        assert await stream.call.code() is grpc.StatusCode.UNAVAILABLE


async def test_operations_that_take_too_long_are_cut(model: Path) -> None:
    async with (
        running(config(model, drain_timeout_s=0.05)) as daemon,
        aio.insecure_channel(daemon.address) as channel,
    ):
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        await stream.open()
        await stream.send(1, append={"text": "hello"})
        await stream.send(2, generate={"max_tokens": 1_000_000})
        await stream.until("chunk")
        await daemon.stop()
        shutting_down = (grpc.StatusCode.UNAVAILABLE, "the daemon is shutting down")
        assert await stream.end() == shutting_down


async def test_a_first_message_that_does_not_come_ends_the_stream(
    open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_service, "FIRST_MESSAGE_TIMEOUT_S", 0.01)
    code, details = await open_stream().end()
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details == "neither open nor attach came within 0.01 s"


async def test_a_fault_in_the_receive_loop_ends_the_stream_and_is_logged(
    open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a secret")

    stream = open_stream()
    await stream.open()
    monkeypatch.setattr(Reader, "operation", fault)
    await stream.send(1, append={"text": "hello"})
    code, details = await stream.end()
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in details
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
        "the receive loop of a session failed"
    ]
