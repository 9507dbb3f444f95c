"""`cellwire serve`: how it starts, how it refuses to, how it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.end_to_end.conftest import Served, run, served

from cellwire.client import Unavailable, connect


def test_the_ready_line_names_models_and_provider(daemon: Served) -> None:
    assert "tiny on CPUExecutionProvider, verse on CPUExecutionProvider" in daemon.ready_line


def test_the_line_before_says_what_it_runs_on(model: Path) -> None:
    with served("--model", str(model), "--provider", "cpu") as daemon:
        assert daemon.placed_line == "cellwire: on the CPU, as asked for\n"


def test_a_card_that_is_not_there_is_refused(model: Path) -> None:
    done = run("serve", "--model", str(model), "--provider", "cuda", "--device", "99")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("cellwire: ")
    assert len(done.stderr.splitlines()) == 1
    assert "NVIDIA driver" in done.stderr or "no CUDA device 99" in done.stderr


async def sentences(daemon: Served, count: int) -> list[str]:
    """Open so many sessions, let each read and rest, and then each write."""
    async with connect(daemon.address) as client, AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(client.session(seed=n)) for n in range(count)]
        for session in sessions:
            await session.append("the ")
        return [await session.generate(max_tokens=30).text() for session in sessions]


def test_parked_and_padded_sessions_write_what_they_would_anywhere(model: Path) -> None:
    """With slots for three sessions at once, and all batches filled up to one size."""
    with (
        served("--model", str(model)) as roomy,
        served(
            "--model", str(model), "--slots", "24", "--max-batch", "4", "--fixed-batch"
        ) as narrow,
    ):
        assert asyncio.run(sentences(roomy, 12)) == asyncio.run(sentences(narrow, 12))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_stops_cleanly(model: Path, stop: signal.Signals) -> None:
    with served("--model", str(model)) as daemon:
        status, said = daemon.stop(stop)
    assert status == 0
    assert "draining" in said
    assert said.endswith("cellwire: stopped\n")


def test_a_running_generation_is_finished_before_the_daemon_stops(model: Path) -> None:
    async def generate(daemon: Served) -> str:
        async with connect(daemon.address) as client, client.session(seed=1) as session:
            await session.append("hello")
            text = ""
            async for piece in session.generate(max_tokens=5_000):
                if not text:
                    daemon.process.send_signal(signal.SIGTERM)
                text += piece
            with pytest.raises(Unavailable):
                await session.append("more")
            return text

    with served("--model", str(model)) as daemon:
        assert len(asyncio.run(generate(daemon))) == 5_000
        assert daemon.process.wait(timeout=60) == 0


def test_a_generation_that_takes_too_long_is_cut(model: Path) -> None:
    async def generate(daemon: Served) -> None:
        async with connect(daemon.address) as client:
            async for _ in client.generate("hello", max_tokens=1_000_000):
                daemon.process.send_signal(signal.SIGTERM)
                break
            generation = client.generate("hello", max_tokens=1_000_000)
            with pytest.raises(Unavailable):
                await generation.text()

    with served("--model", str(model), "--drain-timeout-s", "0.1") as daemon:
        asyncio.run(generate(daemon))
        assert daemon.process.wait(timeout=60) == 0


def test_a_broken_model_file_is_named(tmp_path: Path, model: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:1000])
    result = run("serve", "--listen", "127.0.0.1:0", "--model", str(broken))
    assert result.returncode == 1
    assert f"{broken}: not a complete, valid ONNX model" in result.stderr
    assert "Traceback" not in result.stderr


def test_two_models_of_one_name_are_refused(tmp_path: Path, model: Path) -> None:
    double = tmp_path / model.name
    double.write_bytes(model.read_bytes())
    result = run("serve", "--model", str(model), "--model", str(double))
    assert result.returncode == 1
    assert "both be named 'tiny'" in result.stderr


def test_a_taken_port_is_named(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", "--model", str(model), "--listen", address)
    assert result.returncode == 1
    assert result.stderr == (
        f"cellwire: cannot listen on '{address}': the port is taken by another program; stop it, "
        "or choose another port; --listen HOST:PORT, port 0 takes a free one\n"
    )


@pytest.mark.parametrize("listen", ["nonsense", ":50051", "127.0.0.1:port", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(model: Path, listen: str) -> None:
    result = run("serve", "--model", str(model), "--listen", listen)
    assert result.returncode == 1
    assert f"cannot listen on {listen}" in result.stderr.replace("'", "")
