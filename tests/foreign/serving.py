"""A daemon that serves a model file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cellwire.client import Client, connect
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Client]:
    """A daemon that serves the file, and a client of it."""
    config = Config(listen="127.0.0.1:0", models=(path,), sessions=40, threads=1)
    async with Daemon(config) as daemon, connect(daemon.address) as client:
        yield client
