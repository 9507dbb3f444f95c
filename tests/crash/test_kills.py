"""Real daemons are killed again and again; each session is what an uninterrupted run gives.

The seed is new in every run, and in the message of a failure; CRASH_SEED=N draws the same schedule
and the same operations again. Where they meet depends on the machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.conftest import SEED, crash
from tests.crash.trial import Kind, Outage, draw_outages

pytestmark = pytest.mark.slow

CLIENTS = 6


@pytest.mark.parametrize("arguments", [(), ("--resident", "3")], ids=["", "few-resident"])
async def test_kills(model: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Fifteen kills each."""
    seed = SEED + len(arguments)
    outages = draw_outages(seed, 15, most_messages=150)
    summary, _ = await crash(model, tmp_path / "state", seed, outages, *arguments)
    assert summary.counts.sessions > 0


async def test_a_daemon_that_is_paused_goes_on(model: Path, tmp_path: Path) -> None:
    pauses = [Outage(Kind.PAUSE, messages, 0.05) for messages in (30, 100)]
    await crash(model, tmp_path / "state", SEED, [*pauses, Outage(Kind.KILL, 50, 0.0)])
