"""S, on the client's side: daemons that freeze, forks, clients and sessions that are not open."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.client.real.daemon import RealDaemon

from cellwire import client
from cellwire.client import sync
from cellwire.client.wire import channel, connection
from cellwire.client.wire.own_process import OwnProcess

GUARD_S = 30
_SHORT_MS = 50


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDaemon]:
    real = RealDaemon(tmp_path_factory.mktemp("models"))
    yield real
    real.stop()


class Link:
    """A way to a daemon that can freeze, as if the daemon's machine had."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        self._flowing.clear()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._host, int(self._port))
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._tasks.add(asyncio.create_task(self._copy(source, sink)))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._flowing.wait()
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await sink.wait_closed()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that find out soon."""
    short = {
        "grpc.keepalive_time_ms": _SHORT_MS,
        "grpc.keepalive_timeout_ms": _SHORT_MS,
        "grpc.http2.ping_timeout_ms": _SHORT_MS,
        "grpc.min_reconnect_backoff_ms": _SHORT_MS,
    }
    options = tuple((name, short.get(name, value)) for name, value in channel._OPTIONS)
    assert {name for name, _ in options} >= set(short)
    monkeypatch.setattr(channel, "_OPTIONS", options)


# A daemon that freezes


async def test_a_port_that_accepts_and_never_answers_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    monkeypatch.setattr(channel, "CONNECT_TIMEOUT_S", 0.05)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(GUARD_S):
        with pytest.raises(client.Unreachable):
            await client.connect(f"127.0.0.1:{port}").__aenter__()
    server.close()
    for writer in silent:
        writer.close()
        await writer.wait_closed()


@pytest.mark.usefixtures("impatient")
async def test_a_daemon_that_freezes_is_noticed_in_a_session(real: RealDaemon) -> None:
    link = Link(real.target)
    async with (
        asyncio.timeout(GUARD_S),
        link.listening() as target,
        client.connect(target) as daemon,
        daemon.session() as session,
    ):
        await session.append("a")
        link.freeze()
        with pytest.raises(client.Unavailable):
            await session.append("b")


@pytest.mark.usefixtures("impatient")
async def test_a_daemon_that_freezes_is_noticed_in_calls(real: RealDaemon) -> None:
    link = Link(real.target)
    async with link.listening() as target, client.connect(target) as daemon:
        link.freeze()
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(client.Unavailable):
                await daemon.models()
            with pytest.raises(client.Unavailable):  # on a new connection
                await daemon.generate("a", max_tokens=1).text()


def test_pings_are_no_more_frequent_than_the_daemon_allows() -> None:
    from cellwire.server.rpc.options import PINGS_APART_MS

    options = dict(channel._OPTIONS)
    assert options["grpc.keepalive_time_ms"] > PINGS_APART_MS
    assert options["grpc.keepalive_permit_without_calls"] == 1


# A process that forks


def in_child(program: Callable[[], object]) -> str:
    """Call a program as if in a forked child; return what it raises, or its result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 0)
        try:
            return repr(program())
        except Exception as error:  # noqa: BLE001  # whatever it is, the test compares it
            return f"{type(error).__name__}: {error}"


def names_the_fork(outcome: str) -> bool:
    return outcome.startswith("FailedPrecondition: this process was forked")


async def test_a_call_after_a_fork_fails_at_once_and_no_child_crashes(real: RealDaemon) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("forking.py")),
        real.target,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(GUARD_S):
        output, _ = await program.communicate()
    assert {names_the_fork(line) for line in output.decode().splitlines()} == {True}
    assert program.returncode == 0


def test_a_child_of_a_waiting_client_hears_of_the_fork(real: RealDaemon) -> None:
    with sync.connect(real.target) as daemon, daemon.session() as session:
        session.append("abc")
        generation = session.generate(max_tokens=3)
        calls: list[Callable[[], object]] = [
            daemon.models,
            lambda: session.append("a"),
            generation.text,
            lambda: daemon.generate("a", max_tokens=1).text(),
            lambda: daemon.session().__enter__(),
            lambda: next(iter(session.completing())),
        ]
        outcomes = [in_child(call) for call in calls]
        assert [outcome for outcome in outcomes if not names_the_fork(outcome)] == []
        leaving = [lambda: session.__exit__(None, None, None), generation.close, generation.cancel]
        assert [in_child(leave) for leave in leaving] == ["None"] * 3
        assert in_child(lambda: daemon.__exit__(None, None, None)) == "None"
        assert generation.text() == "def"  # the parent goes on


async def test_a_child_of_an_event_loop_hears_of_the_fork(real: RealDaemon) -> None:
    def step(coroutine: Coroutine[Any, Any, object]) -> Callable[[], object]:
        """Run a coroutine in the child as far as it goes without waiting."""

        def run() -> object:
            try:
                coroutine.send(None)
            except StopIteration as end:
                return end.value
            return "it waits"

        return run

    async with client.connect(real.target) as daemon, daemon.session() as session:
        await session.append("abc")
        generation, call = session.generate(max_tokens=3), daemon.generate("a", max_tokens=3)
        waits = [
            daemon.models(),
            session.append("a"),
            generation.text(),
            call.text(),
            session.complete(),
            session.detach(),
        ]
        outcomes = [in_child(step(coroutine)) for coroutine in waits]
        assert [outcome for outcome in outcomes if not names_the_fork(outcome)] == []
        leaving = [session.__aexit__(None, None, None), call.aclose()]
        leaving.append(daemon.__aexit__(None, None, None))
        assert [in_child(step(coroutine)) for coroutine in leaving] == ["None"] * 3
        for coroutine in (*waits, *leaving):
            coroutine.close()
        assert (await session.append("d")).offset == 4


def test_a_child_that_cannot_connect_hears_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(_: str) -> None:
        raise client.Unreachable("nothing answers")

    monkeypatch.setattr(connection, "open_channel", unreachable)
    monkeypatch.setattr(connection, "_first_use", [])
    with pytest.raises(client.Unreachable, match="nothing answers"):
        sync.connect("127.0.0.1:1").__enter__()
    connect = connection.open_connection("127.0.0.1:1")
    assert names_the_fork(in_child(lambda: connect.send(None)))


def test_a_process_knows_itself() -> None:
    process = OwnProcess()
    assert not process.left
    process.check()


# Not entered, or closed


async def test_a_client_that_was_not_entered_says_so() -> None:
    daemon = client.connect("127.0.0.1:1")
    for start in (daemon.models, daemon.model, lambda: daemon.get_session("x")):
        with pytest.raises(client.FailedPrecondition, match="enter it"):
            await start()
    for make in (
        daemon.session,
        lambda: daemon.attach("x"),
        lambda: daemon.generate("a", max_tokens=1),
    ):
        with pytest.raises(client.FailedPrecondition, match="enter it"):
            make()
    await daemon.__aexit__(None, None, None)


def test_a_client_without_a_loop_that_was_not_entered_says_so() -> None:
    daemon = sync.connect("127.0.0.1:1")
    for call in (daemon.models, daemon.session, lambda: daemon.delete_session("x")):
        with pytest.raises(client.FailedPrecondition, match="enter it"):
            call()
    daemon.__exit__(None, None, None)


async def test_a_session_that_was_not_entered_says_so(real: RealDaemon) -> None:
    async with client.connect(real.target) as daemon:
        session = daemon.session()
        for name in ("id", "model", "seed", "offset", "missed", "running"):
            with pytest.raises(client.FailedPrecondition, match="enter it"):
                getattr(session, name)
        for call in (lambda: session.append("a"), session.fork, session.detach, session.classify):
            with pytest.raises(client.FailedPrecondition, match="enter it"):
                await call()
        with pytest.raises(client.FailedPrecondition, match="enter it"):
            await session.generate(max_tokens=1).text()
        with pytest.raises(client.FailedPrecondition, match="enter it"):
            session.resume(1)


async def test_nothing_is_entered_twice(real: RealDaemon) -> None:
    async with client.connect(real.target) as daemon:
        with pytest.raises(client.FailedPrecondition, match="enter it once"):
            await daemon.__aenter__()
        async with daemon.session() as session:
            with pytest.raises(client.FailedPrecondition, match="enter it once"):
                await session.__aenter__()
            assert (await session.append("a")).offset == 1


def test_no_client_without_a_loop_is_entered_twice(real: RealDaemon) -> None:
    with sync.connect(real.target) as daemon:
        with pytest.raises(client.FailedPrecondition, match="enter it once"):
            daemon.__enter__()
        assert daemon.models()


async def test_a_closed_client_says_so(real: RealDaemon) -> None:
    async with client.connect(real.target) as daemon:
        unread = daemon.generate("a", max_tokens=1)
        unopened = daemon.session()
        async with daemon.session() as session:
            await session.append("abc")
    for call in (daemon.models, unread.text, unopened.__aenter__, lambda: session.append("a")):
        with pytest.raises(client.Cancelled, match="closed"):
            await call()
    with pytest.raises(client.Cancelled, match="closed"):
        daemon.session()
    assert session.offset == 3  # what is known stays known


def test_a_closed_client_without_a_loop_says_so(real: RealDaemon) -> None:
    with sync.connect(real.target) as daemon:
        unread = daemon.generate("a", max_tokens=1)
        with daemon.session() as session:
            session.append("abc")
    for call in (daemon.models, unread.text, daemon.session, lambda: session.append("a")):
        with pytest.raises(client.Cancelled, match="closed"):
            call()


async def test_a_client_can_be_entered_again(real: RealDaemon) -> None:
    daemon = client.connect(real.target)
    for _ in range(2):
        async with daemon:
            assert await daemon.models()
