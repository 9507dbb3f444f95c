"""Kind M in a daemon: models that are refused, hang, never end, or leave little room."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import aio
from onnx import TensorProto, helper
from tests.cases.models import constant, node, recurrent, saved, value
from tests.end_to_end.conftest import CELLWIRE, served
from tests.server.rpc.conftest import GUARD_S, Stream, running
from tests.server.tiny_cell import CellWriter, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.server.host import loop, registry
from cellwire.server.host.config import Config
from cellwire.server.host.own_thread import threads_left
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.runtime.cell_trial import check_cell
from cellwire.server.runtime.device import Execution
from cellwire.v1 import models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

ENDLESS_AT = 50


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    folder = tmp_path / "models"
    folder.mkdir()
    config = Config(
        listen="127.0.0.1:0",
        models=(write_cell(tmp_path / "tiny.onnx", lstm_cell(16)),),
        model_folder=folder,
        sessions=8,
        threads=1,
    )
    async with running(config) as daemon:
        yield daemon


@pytest.fixture
def folder(tmp_path: Path, daemon: Daemon) -> Path:
    assert daemon.registry
    return tmp_path / "models"


@pytest.fixture
async def channel(daemon: Daemon) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(daemon.address) as channel:
        yield channel


async def load(channel: aio.Channel, name: str) -> models_pb2.Model:
    request = models_pb2.LoadModelRequest(name=name)
    return (await ModelsServiceStub(channel).LoadModel(request, timeout=GUARD_S)).model


async def unload(channel: aio.Channel, name: str) -> None:
    request = models_pb2.UnloadModelRequest(name=name)
    await ModelsServiceStub(channel).UnloadModel(request, timeout=GUARD_S)


async def refused(channel: aio.Channel, name: str) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await load(channel, name)
    return caught.value


def endless_cell(at: int = ENDLESS_AT) -> CellWriter:
    """A cell whose step for the token number `at` of a text never ends."""
    cell = recurrent()
    cell.nodes[-1].output[0] = "raw"
    count = cell.state("count", 1)
    for name, number in (("one", [1]), ("at", at), ("half", 0.5)):
        constant(cell, name, number)
    for name, number in (("for_ever", 2**62), ("never", 0)):
        constant(cell, name, number, np.int64)
    body = helper.make_graph(
        [node("Identity", ["go"], "go_on"), node("Identity", ["in"], "out")],
        "body",
        [
            value("number", element=TensorProto.INT64),
            value("go", element=TensorProto.BOOL),
            value("in", 1),
        ],
        [value("go_on", element=TensorProto.BOOL), value("out", 1)],
    )
    cell.nodes += [
        node("Add", [count, "one"], "next_state.count"),
        node("Equal", ["next_state.count", "at"], "equal"),
        node("Cast", ["equal"], "float", to=TensorProto.FLOAT),
        node("ReduceMax", ["float"], "greatest", keepdims=0),
        node("Greater", ["greatest", "half"], "now"),
        node("Where", ["now", "for_ever", "never"], "trips"),
        node("Loop", ["trips", "", "one"], "looped", body=body),
        node("Mul", ["raw", "looped"], "logits"),
    ]
    return cell


async def test_a_refusal_names_the_file_alone(channel: aio.Channel, folder: Path) -> None:
    saved(recurrent([node("Reshape", ["state.h", "table"], "s")]), folder / "bad.onnx")
    error = await refused(channel, "bad")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("bad.onnx: ")
    for private in (str(folder), "onnxruntime", "ONNXRuntime", ".cc"):
        assert private not in (error.details() or "")


async def test_a_pipe_is_refused_at_once(channel: aio.Channel, folder: Path) -> None:
    os.mkfifo(folder / "pipe.onnx")
    assert (await refused(channel, "pipe")).details() == "pipe.onnx: is not a regular file"


@pytest.mark.parametrize("name", ["\U0001d54f" * 1000, "x" * 10**6])
async def test_a_long_name_is_not_found(channel: aio.Channel, name: str) -> None:
    assert (await refused(channel, name)).code() is grpc.StatusCode.NOT_FOUND


async def test_notes_are_logged(
    channel: aio.Channel, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(recurrent(width=7, activation="Softplus"), folder / "soft.onnx")
    await load(channel, "soft")
    (record,) = caplog.records
    assert record.message.startswith("soft.onnx: an operator of this model rounds a row")


async def test_files_that_hang_hold_up_nobody(
    channel: aio.Channel, folder: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, hanging = threading.Event(), threading.Semaphore(0)

    def hang(path: Path) -> Cell:
        hanging.release()
        go_on.wait(GUARD_S)
        return read_cell(path)

    for number in range(5):
        saved(recurrent(), folder / f"slow{number}.onnx")
    monkeypatch.setattr(registry, "read_cell", hang)
    try:
        loads = [asyncio.ensure_future(load(channel, f"slow{n}")) for n in range(4)]
        for _ in loads:
            await asyncio.to_thread(hanging.acquire, timeout=GUARD_S)
        assert (await refused(channel, "slow4")).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        opened = (await stream.open()).opened
        await stream.ask(append={"text": "hello " * 5000})  # long texts are read in the pool
        request = sessions_pb2.ExportSessionRequest(session_id=opened.session_id)
        assert (await SessionsServiceStub(channel).ExportSession(request)).snapshot
        for task in loads:
            task.cancel()
        await stream.ask(close={})
        async with asyncio.timeout(GUARD_S):
            await daemon.stop()
        assert threads_left().count("load a model") == 4
    finally:
        go_on.set()


async def test_a_model_in_an_endless_step_is_unloaded(
    channel: aio.Channel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.EngineLoop.stop, "__defaults__", (0.2,))
    saved(endless_cell(), folder / "endless.onnx")
    await load(channel, "endless")
    stream = Stream(GenerationServiceStub(channel).StreamSession())
    await stream.open(model="endless")
    await stream.send(1, append={"text": "a" * (ENDLESS_AT + 10)})
    other = Stream(GenerationServiceStub(channel).StreamSession())
    await other.open()
    await other.ask(append={"text": "hello"})
    await unload(channel, "endless")
    assert (await stream.end())[0] is grpc.StatusCode.ABORTED
    assert len(await other.generated(2, 5)) == 5
    assert "engine endless" not in threads_left()


async def test_a_daemon_with_an_endless_step_stops(
    channel: aio.Channel, daemon: Daemon, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.EngineLoop.stop, "__defaults__", (0.2,))
    saved(endless_cell(), folder / "endless.onnx")
    await load(channel, "endless")
    stream = Stream(GenerationServiceStub(channel).StreamSession())
    await stream.open(model="endless")
    await stream.send(1, append={"text": "a" * (ENDLESS_AT + 10)})
    daemon._config = replace(daemon._config, drain_timeout_s=0.1)
    async with asyncio.timeout(GUARD_S):
        await daemon.stop()
    assert "engine endless" not in threads_left()


def test_a_step_that_never_ends_is_refused(tmp_path: Path) -> None:
    cell = read_cell(saved(endless_cell(at=2), tmp_path / "endless.onnx"))
    with pytest.raises(BadModel, match=r"its steps did not end within 0\.5 s"):
        check_cell(cell, Execution(), limit_s=0.5)


def great_state(width: int) -> CellWriter:
    """A window: each step puts a row of numbers in front of those before."""
    cell = CellWriter()
    state = cell.state("window", width)
    for name, number in (("begin", 0), ("axis", 1), ("row_end", cell.size), ("end", width)):
        constant(cell, name, [number], np.int64)
    cell.node("Gather", [cell.weights("table", cell.size, cell.size), "token"], "row")
    cell.node("Concat", ["row", state], "all", axis=1)
    cell.node("Slice", ["all", "begin", "end", "axis"], "next_state.window")
    cell.node("Slice", [state, "begin", "row_end", "axis"], "before")
    cell.node("Add", ["row", "before"], "logits")
    return cell


async def test_a_great_state_is_served_with_fewer_slots(
    channel: aio.Channel, folder: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of 5 MiB of memory holds 10 states of 128 KiB; more sessions are parked."""
    monkeypatch.setattr("cellwire.server.host.placement.free_memory_bytes", lambda: 5 * 2**20)
    saved(great_state(2**15), folder / "great.onnx")
    model = await load(channel, "great")
    assert model.state_bytes == 2**17
    assert daemon.registry.find("great").loop._engine._sessions._arena.slots == 12
    # Of these, two are reserved.
    streams = [Stream(GenerationServiceStub(channel).StreamSession()) for _ in range(8)]
    for stream in streams:
        await stream.open(model="great")
        await stream.ask(append={"text": "hello there " * 5})
    for stream in streams:
        assert len(await stream.generated(2, 5)) == 5


async def test_a_state_without_room_is_refused(
    channel: aio.Channel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellwire.server.host.placement.free_memory_bytes", lambda: 2**20)
    saved(great_state(2**18), folder / "great.onnx")
    details = (await refused(channel, "great")).details()
    assert details == (
        "great.onnx: its state has 1.0 MiB, and a session 7 of them; there are 1 MiB of memory"
    )


@pytest.mark.slow
def test_a_daemon_is_stopped_while_a_file_hangs(tmp_path: Path) -> None:
    """A file that is never read to its end: the start is given up at the first signal."""
    code = (
        "import sys, threading; from cellwire.server.host import registry;"
        "registry.read_cell = lambda path: (print('reading', flush=True),"
        " threading.Event().wait());"
        "from cellwire.client.commands.cli import main; main()"
    )
    python = CELLWIRE.parent / "python"
    process = subprocess.Popen(
        [str(python), "-c", code, "serve", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=GUARD_S)
    assert process.returncode == 0
    assert said.endswith("cellwire: stopped while starting\n")


@pytest.mark.slow
async def test_a_second_signal_always_ends_the_daemon(tmp_path: Path) -> None:
    path = saved(endless_cell(), tmp_path / "endless.onnx")
    with served("--model", str(path), "--drain-timeout-s", "1000") as daemon:
        async with aio.insecure_channel(daemon.address) as channel:
            stream = Stream(GenerationServiceStub(channel).StreamSession())
            await stream.open()
            await stream.send(1, append={"text": "a" * (ENDLESS_AT + 10)})
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.stderr is not None
            line = await asyncio.to_thread(daemon.process.stderr.readline)
            assert "draining" in line
            daemon.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(daemon.process.wait, GUARD_S)
    assert status == 130
