"""A real daemon in a thread, with the models that the fake one has."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from tests.client.real.models import write_models


class RealDaemon:
    """Starts when its target is first needed, and runs until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    @property
    def target(self) -> str:
        """Its address, HOST:PORT."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="real daemon")
            self._thread.start()
            self._ready.wait()
        return self._target

    def stop(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _serve(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        from cellwire.server.host.config import Config
        from cellwire.server.rpc.daemon import Daemon

        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        config = Config(
            listen="127.0.0.1:0",
            models=write_models(self._folder),
            model_folder=self._folder,
            sessions=64,
            threads=1,
            drain_timeout_s=0,
        )
        try:
            async with Daemon(config) as daemon:
                self._target = daemon.address
                self._ready.set()
                await self._stopping.wait()
        finally:
            self._ready.set()
