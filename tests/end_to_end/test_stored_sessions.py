"""`cellwire sessions --state` beside a daemon that runs, after one, and without any."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from tests.end_to_end.conftest import Served, run, served
from tests.server.store.redis_server import RedisServer

from cellwire.client import connect

ONE, TWO = "1" * 32, "2" * 32


def sessions(*arguments: str, state: Path | str) -> str:
    """Run the command on a store; return what it writes."""
    done = run("sessions", *arguments, "--state", str(state))
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str) -> str:
    done = run("sessions", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def listed(state: Path | str) -> dict[str, int]:
    lines = sessions("list", "--json", state=state).splitlines()
    return {found["session_id"]: found["tokens"] for found in map(json.loads, lines)}


async def exported(daemon: Served) -> bytes:
    async with connect(daemon.address) as client, client.session(seed=7) as session:
        await session.append("the ")
        await session.generate(max_tokens=700, temperature=0.8).text()
        return await client.export_session(session.id)


async def goes_on(daemon: Served, session_id: str) -> str:
    async with connect(daemon.address) as client, client.attach(session_id) as session:
        return await session.generate(max_tokens=40, temperature=0.8).text()


def test_sessions_are_moved_and_kept_by_whoever_runs_the_daemon(
    model: Path, tmp_path: Path
) -> None:
    state, other, file = tmp_path / "state", tmp_path / "other", tmp_path / "one.session"
    serve = ("--model", str(model), "--state")
    with served(*serve, str(state)) as daemon:
        file.write_bytes(asyncio.run(exported(daemon)))
        carry_in = ("import", str(file), "--durability", "safe_first", "--id")
        for session_id in (ONE, TWO):
            done = run("sessions", *carry_in, session_id, "--target", daemon.address)
            assert (done.stdout, done.returncode) == (f"{session_id}\n", 0), done.stderr
        # Beside the daemon: what is safe is seen, and nothing is written.
        assert listed(state) == {ONE: 704, TWO: 704}
        assert "model:      tiny (SHA-256 " in sessions("show", ONE, state=state)
        for arguments in (("delete", ONE), ("import", str(file))):
            line = refused(*arguments, "--state", str(state))
            assert "--target HOST:PORT" in line
        expected = asyncio.run(goes_on(daemon, TWO))
        assert listed(state) == {ONE: 704}  # its client has closed the other
        # Without it: what a killed daemon has left.
        daemon.process.kill()
        daemon.process.wait()
        assert listed(state) == {ONE: 704}
        sessions("export", ONE, str(file), "--force", state=state)
        sessions("delete", ONE, state=state)
        assert listed(state) == {}
    with served(*serve, str(other)) as daemon:
        assert listed(other) == {}
        assert daemon.stop(signal.SIGTERM)[0] == 0
    assert sessions("import", str(file), "--id", ONE, state=other) == f"{ONE}\n"
    assert refused("import", str(file), "--id", ONE, "--state", str(other)).endswith(
        "exists already\n"
    )
    with served(*serve, str(other)) as daemon:
        assert asyncio.run(goes_on(daemon, ONE)) == expected
        assert daemon.stop(signal.SIGTERM)[0] == 0
    assert listed(other) == {}


def test_a_session_that_a_daemon_holds_in_redis_is_let_be(model: Path, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", appendfsync="always").start()
    file = tmp_path / "one.session"
    try:
        with served("--model", str(model), "--state", server.url) as daemon:
            file.write_bytes(asyncio.run(exported(daemon)))
            carry_in = ("import", str(file), "--id", ONE, "--durability", "safe_first")
            assert run("sessions", *carry_in, "--target", daemon.address).returncode == 0
            sessions("import", str(file), "--id", TWO, state=server.url)  # nobody holds it
            line = refused("delete", ONE, "--state", server.url)
            assert "a daemon holds the session" in line
            sessions("delete", TWO, state=server.url)
            assert listed(server.url) == {ONE: 704}
            assert daemon.stop(signal.SIGTERM)[0] == 0
        sessions("delete", ONE, state=server.url)
        assert listed(server.url) == {}
    finally:
        server.kill()
