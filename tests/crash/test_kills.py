"""Real daemons are killed again and again; each session is what an uninterrupted run gives.

The seed is new in every run, and in the message of a failure; CRASH_SEED=N draws the same schedule
and the same operations again. Where they meet depends on the machine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.crash.conftest import SEED, crash
from tests.crash.trial import Kind, Outage, draw_outages

pytestmark = pytest.mark.slow


async def test_thirty_kills(model: Path, tmp_path: Path) -> None:
    """Two daemons at a time, one of which keeps few sessions in memory, and wakes the others."""

    async def kill_fifteen_times(seed: int, *arguments: str) -> None:
        outages = draw_outages(seed, 15, most_messages=150)
        summary, _ = await crash(model, tmp_path / str(seed), seed, outages, *arguments)
        assert summary.counts.sessions > 0

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_fifteen_times(SEED))
        group.create_task(kill_fifteen_times(SEED + 1, "--resident", "3"))


async def test_a_daemon_that_is_paused_goes_on(model: Path, tmp_path: Path) -> None:
    pauses = [Outage(Kind.PAUSE, messages, 0.05) for messages in (30, 100)]
    await crash(model, tmp_path / "state", SEED, [*pauses, Outage(Kind.KILL, 50, 0.0)])
