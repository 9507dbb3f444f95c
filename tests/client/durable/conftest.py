"""A daemon that is killed, and started again where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.crash.real import RealDaemon
from tests.server.tiny_cell import lstm_cell, write_cell


class KilledDaemon(RealDaemon):
    """Each process listens where the first one did."""

    async def start(self) -> str:
        address = await super().start()
        self._command += ["--listen", address]
        return address

    async def kill_and_start(self) -> None:
        await self.kill()
        await self.start()

    async def end_and_start(self) -> None:
        await self.terminate()
        await self.start()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(16))


@pytest.fixture
async def killed(model: Path, tmp_path: Path) -> AsyncIterator[KilledDaemon]:
    daemon = KilledDaemon(model, "--state", str(tmp_path / "state"), "--drain-timeout-s", "0.001")
    yield daemon
    await daemon.stop()
