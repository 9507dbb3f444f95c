"""Daemons as processes, for tests that kill them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.crash.disk import Disk
from tests.crash.real_trial import run
from tests.crash.trial import Outage, Summary
from tests.server.tiny_cell import lstm_cell, write_cell

SEED = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
CLIENTS = 6
GUARD_S = 110


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(16))


async def crash(
    model: Path,
    state: Path,
    seed: int,
    outages: Sequence[Outage],
    *arguments: str,
    disk: Disk | None = None,
) -> tuple[Summary, str]:
    """Run a trial; return what has happened, and the daemon's log."""
    async with asyncio.timeout(GUARD_S):
        summary, log = await run(model, state, seed, outages, CLIENTS, *arguments, disk=disk)
    print(summary)  # noqa: T201  # shown if the test fails, and with -rP
    return summary, log
