"""The Python client comes back to a durable session through each proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.client.durable.conftest import KilledDaemon
from tests.deploy.proxy import Proxy, proxied
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire import client
from cellwire.client import Durability

GUARD_S = 60
TOKENS = 20_000


@pytest.fixture
async def killed(tmp_path: Path) -> AsyncIterator[KilledDaemon]:
    model = write_cell(tmp_path / "tiny.onnx", lstm_cell(16))
    daemon = KilledDaemon(model, "--state", str(tmp_path / "state"))
    yield daemon
    await daemon.stop()


async def test_a_generation_goes_on_when_the_daemon_is_killed(
    proxy: Proxy, killed: KilledDaemon, tmp_path: Path
) -> None:
    address = await killed.start()
    with proxied(proxy, tmp_path / "proxy", [address]) as target:
        async with asyncio.timeout(GUARD_S), client.connect(target) as daemon:
            async with daemon.session(seed=7) as session:
                await session.append("ab")
                expected = await session.generate(max_tokens=TOKENS, seed=3).text()
            async with daemon.session(seed=7, durability=Durability.SAFE_LATER) as session:
                await session.append("ab")
                text, restarting = "", None
                async for piece in session.generate(max_tokens=TOKENS, seed=3):
                    restarting = restarting or asyncio.create_task(killed.kill_and_start())
                    text += piece
                assert restarting is not None
                await restarting
                assert text == expected


async def test_what_ends_a_session_is_told(
    proxy: Proxy, killed: KilledDaemon, tmp_path: Path
) -> None:
    address = await killed.start()
    with proxied(proxy, tmp_path / "proxy", [address]) as target:
        async with asyncio.timeout(GUARD_S), client.connect(target) as daemon:
            async with daemon.session(durability=Durability.SAFE_LATER) as session:
                await session.append("ab")
                async with daemon.attach(session.id, takeover=True) as other:
                    with pytest.raises(client.Aborted):
                        await session.append("a")
                    assert (await other.append("b")).offset == 3
            async with daemon.session(durability=Durability.SAFE_LATER) as session:
                await session.save()
                await daemon.delete_session(session.id)
                with pytest.raises((client.Aborted, client.NotFound)):
                    await session.append("a")
