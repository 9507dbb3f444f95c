"""Daemons as processes, for tests that kill them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.crash.real import RealDaemon
from tests.server.tiny_cell import lstm_cell, write_cell


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(16))


@asynccontextmanager
async def reference(model: Path) -> AsyncIterator[str]:
    """Run a daemon that nothing interrupts; yields its address."""
    daemon = RealDaemon(model)
    try:
        yield await daemon.start()
    finally:
        await daemon.stop()
