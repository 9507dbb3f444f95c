"""Large messages pass a proxy, and silent streams live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from tests.crash.drawing import session_id
from tests.deploy.calls import front
from tests.deploy.fleet import Fleet
from tests.deploy.proxy import GUARD_S, PROXIES, Proxy, proxied
from tests.end_to_end.conftest import Served, served
from tests.server.tiny_cell import vast_cell, write_cell

from cellwire.v1 import sessions_pb2

BIG = 2_600_000  # numbers of four bytes in a state
IDLE_S = 3.0


@pytest.fixture(scope="module")
def vast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon whose sessions have a large state."""
    model = write_cell(tmp_path_factory.mktemp("vast") / "vast.onnx", vast_cell(BIG))
    with served("--model", str(model), "--sessions", "8", "--slots", "24") as daemon:
        yield daemon


async def test_an_import_of_ten_megabytes_passes(
    proxy: Proxy, vast: Served, tmp_path: Path
) -> None:
    with proxied(proxy, tmp_path, [vast.address]) as address:
        async with front(address) as daemons, asyncio.timeout(GUARD_S):
            name = session_id(Random(proxy.name))
            stream = daemons.stream(name)
            await stream.begin(rewind_window=0)
            await stream.append("hello")
            export = sessions_pb2.ExportSessionRequest(session_id=name)
            snapshot = (await daemons.sessions.ExportSession(export)).snapshot
            assert len(snapshot) > 10_000_000
            request = sessions_pb2.ImportSessionRequest(snapshot=snapshot)
            imported = (await daemons.sessions.ImportSession(request)).session
            assert imported.offset == len("hello")
            await daemons.delete(imported.session_id)
            await daemons.delete(name)


async def test_silent_streams_live(fleet: Fleet, tmp_path: Path) -> None:
    """All proxies at once. Their defaults, 50 s and more, are not waited for."""
    installed = [proxy for proxy in PROXIES if proxy.program]
    async with AsyncExitStack() as stack:
        streams = []
        for proxy in installed:
            behind = proxied(proxy, tmp_path / proxy.name, fleet.addresses)
            daemons = await stack.enter_async_context(front(stack.enter_context(behind)))
            stream = daemons.stream(session_id(Random(proxy.name)))
            await stream.begin()
            streams.append(stream)
        await asyncio.sleep(IDLE_S)
        for stream in streams:
            await stream.append("hello")
    if len(installed) < len(PROXIES):
        missing = [f"{proxy.name}: {proxy.install}" for proxy in PROXIES if not proxy.program]
        pytest.skip(f"needs {', '.join(missing)}")
