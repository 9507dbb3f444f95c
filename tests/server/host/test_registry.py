"""Models that are loaded, refused and unloaded; and what of them stays."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cases.models import node, recurrent, saved
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.errors import BadModel
from cellwire.server.errors import AlreadyExists, CannotListen, StepFailed
from cellwire.server.host.config import Config
from cellwire.server.host.placement import Placement
from cellwire.server.host.registry import Registry
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.runtime.device import CPU
from cellwire.server.runtime.runtime import Runtime

MIB = 2**20


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> list[Runtime]:
    """The runtimes that are made in a test."""
    made: list[Runtime] = []

    class Noted(Runtime):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr("cellwire.server.host.registry.Runtime", Noted)
    return made


def registry_of(folder: Path, *models: Path) -> Registry:
    config = Config(models=models, model_folder=folder, sessions=4, threads=1)
    return Registry(config, Placement(CPU, ""), lambda *_: None, lambda _: None)


def is_closed(runtime: Runtime) -> bool:
    try:
        runtime.read_state(0)
    except StepFailed:
        return True
    return False


def test_a_second_model_that_is_refused_closes_the_first(
    tmp_path: Path, runtimes: list[Runtime]
) -> None:
    first = write_cell(tmp_path / "first.onnx")
    bad = saved(recurrent([node("Reshape", ["state.h", "table"], "s")]), tmp_path / "bad.onnx")
    with pytest.raises(BadModel, match=r"bad\.onnx"):
        registry_of(tmp_path, first, bad)
    assert [is_closed(runtime) for runtime in runtimes] == [True]


def test_two_models_of_one_name_are_refused(tmp_path: Path, runtimes: list[Runtime]) -> None:
    path = write_cell(tmp_path / "cell.onnx")
    with pytest.raises(BadModel, match="would both be named 'cell'"):
        registry_of(tmp_path, path, path)
    assert all(map(is_closed, runtimes))


@pytest.mark.parametrize("started", [False, True])
def test_a_registry_that_stops_closes_all_models(
    tmp_path: Path,
    runtimes: list[Runtime],
    started: bool,  # noqa: FBT001
) -> None:
    registry = registry_of(tmp_path, write_cell(tmp_path / "cell.onnx"))
    if started:
        registry.start()
    assert not any(map(is_closed, runtimes))
    registry.stop()
    assert all(map(is_closed, runtimes))


def test_a_model_that_came_too_late_is_closed_by_a_stop(
    tmp_path: Path, runtimes: list[Runtime]
) -> None:
    registry = registry_of(tmp_path, write_cell(tmp_path / "cell.onnx"))
    write_cell(tmp_path / "other.onnx")
    one, two = registry.load("other"), registry.load("other")
    registry.add(one)
    with pytest.raises(AlreadyExists):
        registry.add(two)
    two.loop.stop()
    assert [is_closed(runtime) for runtime in runtimes] == [False, False, True]
    registry.stop()


async def test_a_daemon_that_cannot_listen_closes_its_models(
    tmp_path: Path, runtimes: list[Runtime]
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    config = Config(listen=address, models=(write_cell(tmp_path / "cell.onnx"),), threads=1)
    with taken, pytest.raises(CannotListen):
        async with Daemon(config):
            pass
    assert [is_closed(runtime) for runtime in runtimes] == [True]


def test_the_registry_keeps_no_weights(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, write_cell(tmp_path / "cell.onnx", lstm_cell(64)))
    assert registry.find("").cell.graph.ByteSize() < 5_000
    registry.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the C library gives memory back there")
def test_a_model_that_is_unloaded_gives_its_memory_back(tmp_path: Path) -> None:
    default, folder = write_cell(tmp_path / "tiny.onnx"), tmp_path / "models"
    folder.mkdir()
    great = write_cell(folder / "great.onnx", lstm_cell(1_200))
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.host.load_and_unload", default, folder],
        check=True,
        capture_output=True,
        text=True,
    )
    before, *rounds = done.stdout.splitlines()
    loaded, after = zip(*((int(n) for n in line.split()) for line in rounds), strict=True)
    weights = great.stat().st_size
    assert min(loaded) > int(before) + 3 * weights  # its weights, and packed for two programs
    assert max(after) < int(before) + 12 * MIB
    assert after[-1] < after[0] + 4 * MIB
