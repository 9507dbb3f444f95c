"""Crashes: of the daemon's process, and of an engine's thread."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from tests.end_to_end.conftest import GUARD_S, Served, served

from cellwire.client import CellwireError, Client, Unavailable, connect

ENDLESS_TOKENS = 1_000_000
RUNS = 20  # before the engine fails: some for the appends, some while text streams


def failing(runs: int) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.end_to_end.failing_daemon", str(runs)


async def stream_until_error(client: Client, begun: asyncio.Event) -> CellwireError:
    """Generate without end; return the error that ends it."""
    try:
        async for _ in client.generate("hello", max_tokens=ENDLESS_TOKENS):
            begun.set()
    except CellwireError as error:
        return error
    pytest.fail("the stream ended without an error")


async def kill_in_the_middle(daemon: Served) -> list[CellwireError]:
    """Kill the daemon while two clients stream; return what the clients hear."""
    async with connect(daemon.address) as one, connect(daemon.address) as other:
        begun = [asyncio.Event(), asyncio.Event()]
        streams = [
            asyncio.create_task(stream_until_error(client, event))
            for client, event in zip((one, other), begun, strict=True)
        ]
        async with asyncio.timeout(GUARD_S):
            for event in begun:
                await event.wait()
            daemon.process.send_signal(signal.SIGKILL)
            return await asyncio.gather(*streams)


async def text_of(address: str) -> str:
    async with connect(address) as client:
        return await client.generate("hello", max_tokens=30, seed=3).text()


def test_a_killed_daemon_is_unavailable_and_its_successor_serves(model: Path) -> None:
    with served("--model", str(model)) as first:
        before = asyncio.run(text_of(first.address))
        errors = asyncio.run(kill_in_the_middle(first))
        assert first.end()[0] == -signal.SIGKILL
    assert [type(error) for error in errors] == [Unavailable, Unavailable]
    assert all(error.message for error in errors)
    with served("--model", str(model), "--listen", first.address) as second:
        assert second.address == first.address
        assert asyncio.run(text_of(second.address)) == before


def test_a_client_reaches_the_successor_of_a_killed_daemon(model: Path) -> None:
    """A channel connects again by itself."""

    async def outlive(first: Served) -> str:
        async with connect(first.address) as client:
            await client.generate("hello", max_tokens=5).text()
            first.process.kill()
            first.end()
            with served("--model", str(model), "--listen", first.address):
                async with asyncio.timeout(GUARD_S):
                    while True:
                        try:
                            return await client.generate("hello", max_tokens=30, seed=3).text()
                        except Unavailable:
                            await asyncio.sleep(0.1)

    with served("--model", str(model)) as first:
        expected = asyncio.run(text_of(first.address))
        assert asyncio.run(outlive(first)) == expected


def test_a_failed_engine_ends_streams_and_the_daemon(model: Path) -> None:
    async def streams(daemon: Served) -> list[CellwireError]:
        async with connect(daemon.address) as client, asyncio.timeout(GUARD_S):
            begun = asyncio.Event()
            return await asyncio.gather(*(stream_until_error(client, begun) for _ in range(3)))

    with served("--model", str(model), command=failing(RUNS)) as daemon:
        errors = asyncio.run(streams(daemon))
        status, stderr = daemon.end()
    assert status == 1
    assert "cellwire: an engine failed: Fault('a fault in the test')" in stderr
    assert stderr.endswith("cellwire: stopped\n")
    assert [type(error) for error in errors] == [Unavailable] * 3
    assert all(error.message for error in errors)


def test_a_failed_engine_ends_a_session_that_rests(model: Path) -> None:
    """The engine's failure is noticed though no operation of the session runs."""

    async def rest(daemon: Served) -> CellwireError:
        async with (
            asyncio.timeout(GUARD_S),
            connect(daemon.address) as client,
            client.session(seed=1) as session,
        ):
            await session.append("hello")
            await stream_until_error(client, asyncio.Event())
            with pytest.raises(CellwireError) as raised:
                await session.append("more")
            return raised.value

    with served("--model", str(model), command=failing(RUNS)) as daemon:
        error = asyncio.run(rest(daemon))
        assert daemon.end()[0] == 1
    assert type(error) is Unavailable
