"""What clients behind a proxy hear when a daemon ends, and whom they reach then."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import grpc
import pytest
from grpc import aio
from tests.crash.drawing import session_id
from tests.crash.stream import Lost
from tests.deploy.calls import Front, front
from tests.deploy.fleet import Fleet
from tests.deploy.proxy import GUARD_S, Proxy, proxied

SESSIONS = [session_id(Random(f"outage {n}")) for n in range(40)]
_POLL_S = 0.05
_LOST_BY_THE_LIBRARY = "Internal error from Core"  # of a write to a call that has just ended


@asynccontextmanager
async def divided(
    proxy: Proxy, fleet: Fleet, folder: Path
) -> AsyncIterator[tuple[Front, list[str], str]]:
    """Yield the proxy, the sessions that it sends to daemon 1, and one that it does not."""
    with proxied(proxy, folder, fleet.addresses) as address:
        async with front(address) as daemons, asyncio.timeout(GUARD_S):
            names = await daemons.whereabouts(SESSIONS)
            ours = [session for session in SESSIONS if names[session] == fleet.name(1)]
            other = next(session for session in SESSIONS if names[session] != fleet.name(1))
            yield daemons, ours, other


async def reach(front: Front, session: str, proxy: Proxy, wanted: Callable[[str], bool]) -> None:
    """Try again until a call arrives at a daemon as wanted, and only with statuses that may be."""
    while True:
        try:
            if wanted(await front.where(session)):
                return
        except aio.AioRpcError as error:
            if error.code() not in proxy.losses:
                raise
        await asyncio.sleep(_POLL_S)


async def test_clients_of_a_killed_daemon_reach_another(
    proxy: Proxy, fleet: Fleet, tmp_path: Path
) -> None:
    killed = fleet.name(1)
    async with divided(proxy, fleet, tmp_path) as (daemons, ours, other):
        streaming, resting, spared = (daemons.stream(id_) for id_ in (*ours[:2], other))
        for stream in (streaming, resting, spared):
            await stream.begin()
        await streaming.generate_without_end()
        fleet.signal(1, signal.SIGKILL)
        assert (await streaming.end()).code == proxy.when_killed
        assert (await resting.end()).code == proxy.when_killed
        await spared.append("hello")
        for session in ours:
            await reach(daemons, session, proxy, lambda name: name != killed)
        await daemons.stream(ours[0]).begin()
        fleet.restart(1)
        await reach(daemons, ours[0], proxy, lambda name: name == killed)
        await spared.append("hello")


async def test_no_daemon_at_all_is_unavailable(proxy: Proxy, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        host, port = nobody.getsockname()
        with proxied(proxy, tmp_path, [f"{host}:{port}"], with_daemons=False) as address:
            async with front(address) as daemons, asyncio.timeout(GUARD_S):
                for _ in range(5):
                    with pytest.raises(Lost) as of_stream:
                        await daemons.stream(SESSIONS[0]).begin()
                    assert of_stream.value.code in proxy.losses
                    with pytest.raises(aio.AioRpcError) as of_call:
                        await daemons.where(SESSIONS[0])
                    assert of_call.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_daemon_that_shuts_down_gets_no_new_sessions_and_keeps_its_streams(
    proxy: Proxy, fleet: Fleet, tmp_path: Path
) -> None:
    leaving = fleet.name(1)
    async with divided(proxy, fleet, tmp_path) as (daemons, ours, _):
        stream = daemons.stream(ours[0])
        await stream.begin()
        await stream.generate_without_end()
        fleet.signal(1, signal.SIGTERM)
        if proxy.asks_for_health:
            await reach(daemons, ours[1], proxy, lambda name: name != leaving)
            await daemons.stream(ours[1]).begin()
        else:  # the daemon refuses by itself
            refused = await refusal(daemons, ours[1])
            assert refused.code == grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in str(refused) or _LOST_BY_THE_LIBRARY in str(refused)
        assert (await stream.receive()).HasField("chunk")
        fleet.restart(1)
        assert (await stream.end()).code in proxy.losses
        await reach(daemons, ours[1], proxy, lambda name: name == leaving)


async def refusal(front: Front, session: str) -> Lost:
    """Open a session until it is refused."""
    while True:
        try:
            await front.stream(session).begin()
        except Lost as lost:
            if lost.code != grpc.StatusCode.ALREADY_EXISTS:
                return lost


async def test_the_status_of_a_stream_arrives(proxy: Proxy, fleet: Fleet, tmp_path: Path) -> None:
    """A status that the daemon ends a stream with; HAProxy 2.6 may put CANCELLED in its place."""
    with proxied(proxy, tmp_path, fleet.addresses) as address:
        async with front(address) as daemons, asyncio.timeout(GUARD_S):
            for session in SESSIONS[:5]:
                stream = daemons.stream(session)
                await stream.begin()
                await daemons.delete(session)
                ended = (await stream.end()).code
                hidden = proxy.hides_statuses and ended == grpc.StatusCode.CANCELLED
                assert hidden or ended == grpc.StatusCode.ABORTED
                assert not await daemons.has(session), "calls of one request tell the truth"
