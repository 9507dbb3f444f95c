"""Real daemons are killed again and again; each session is what an uninterrupted run gives.

The seed is new in every run, and in the message of a failure; CRASH_SEED=N draws the same schedule
and the same operations again. Where they meet depends on the machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.crash.conftest import reference
from tests.crash.real import RealDaemon
from tests.crash.service import Service
from tests.crash.trial import Kind, Outage, Summary, Trial, draw_outages
from tests.crash.violation import Violation

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
CLIENTS = 6
GUARD_S = 110


async def run(
    model: Path, state: Path, seed: int, outages: Sequence[Outage], *arguments: str
) -> Summary:
    daemon = RealDaemon(model, "--state", str(state), *arguments)
    try:
        async with reference(model) as address, asyncio.timeout(GUARD_S):
            return await Trial(Service(daemon), address, seed).run(outages, CLIENTS)
    except Violation as violation:
        raise Violation(f"{violation}\n{''.join(daemon.lines)}") from violation
    finally:
        await daemon.stop()


@pytest.mark.parametrize("arguments", [(), ("--resident", "3")], ids=["", "few-resident"])
async def test_kills(model: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    seed = SEED + len(arguments)
    outages = draw_outages(seed, 15, most_messages=150)
    summary = await run(model, tmp_path / "state", seed, outages, *arguments)
    print(summary)  # noqa: T201  # shown when the test fails, or with -rP
    assert summary.counts.sessions >= CLIENTS


async def test_a_daemon_that_is_paused_goes_on(model: Path, tmp_path: Path) -> None:
    pauses = {Kind.PAUSE: 1}
    outages = draw_outages(SEED, 3, pauses, counted=pauses, most_messages=100)
    longer = [Outage(Kind.PAUSE, outage.after_messages, 0.5) for outage in outages]
    await run(model, tmp_path / "state", SEED, [*longer, Outage(Kind.KILL, 50, 0.0)])
