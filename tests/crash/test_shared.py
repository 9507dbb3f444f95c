"""Two daemons on one Redis server: either is killed or paused past its lease, and so is the server.

The seed is drawn as in test_kills.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.crash.conftest import CLIENTS, GUARD_S, SEED
from tests.crash.real_trial import DAEMONS, run_shared
from tests.crash.trial import SHARED, Kind, Outage, draw_outages

pytestmark = pytest.mark.slow


async def test_ten_kills_of_two_daemons(model: Path, tmp_path: Path) -> None:
    each_kind = [Outage(kind, 40, 0.02, number % DAEMONS) for number, kind in enumerate(SHARED)]
    kills = draw_outages(SEED, 5, SHARED, most_messages=200, daemons=DAEMONS)
    async with asyncio.timeout(GUARD_S):
        summary, _ = await run_shared(model, tmp_path, SEED, [*each_kind, *kills], CLIENTS)
    print(summary)  # noqa: T201  # shown if the test fails, and with -rP
    assert summary.outages[Kind.PAUSE_PAST_LEASE] > 0
    assert summary.counts.moves > 0
    assert summary.counts.sessions > 0
