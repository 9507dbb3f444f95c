"""A Redis server as the store of several daemons, which is killed and paused like them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import redis
from tests.server.store.redis_server import RedisServer

from cellwire.server.store.redis_keys import DAEMON

_POLL_S = 0.02


class RedisStore:
    """Keeps what it has answered for, whenever it is killed: `appendfsync always`."""

    def __init__(self, folder: Path) -> None:
        self._server = RedisServer(folder, appendfsync="always")

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    def stop(self) -> None:
        self._server.kill()

    async def pause(self, seconds: float) -> None:
        self._server.pause()
        await asyncio.sleep(seconds)
        self._server.go_on()

    async def restart(self, after_s: float) -> None:
        self._server.kill()
        await asyncio.sleep(after_s)
        await self.start()

    async def wait_for_leases(self, most: int) -> None:
        with self._server.client() as client:
            while _leases(client) > most:  # noqa: ASYNC110  # a lease that runs out tells nobody
                await asyncio.sleep(_POLL_S)


def _leases(client: redis.Redis) -> int:
    return sum(1 for _ in client.scan_iter(match=DAEMON + "*", count=10_000))
