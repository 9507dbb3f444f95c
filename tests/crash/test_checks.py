"""The checks themselves: each fault of a fake daemon is found, and none is invented."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from tests.crash.fake.daemon import FakeDaemon
from tests.crash.fake.faults import Fault
from tests.crash.service import Service
from tests.crash.trial import KILLS, Kind, Summary, Trial, draw_outages
from tests.crash.violation import Violation

CLIENTS = 6
SEEDS = range(1, 9)
GUARD_S = 60
TERMINATIONS = {Kind.TERMINATE: 1}


async def run(seed: int, kills: int, fault: Fault | None, kinds: Mapping[Kind, int]) -> Summary:
    reference, daemon = FakeDaemon(), FakeDaemon(seed, fault)
    outages = draw_outages(seed, kills, kinds, counted=kinds, most_messages=200)
    trial = Trial(Service(daemon), await reference.start(), seed)
    try:
        async with asyncio.timeout(GUARD_S):
            return await trial.run(outages, CLIENTS)
    finally:
        await daemon.stop()
        await reference.stop()


async def finds(fault: Fault, kinds: Mapping[Kind, int]) -> bool:
    """Whether one of some seeds finds anything."""
    for seed in SEEDS:
        try:
            await run(seed, 10, fault, kinds)
        except Violation:
            return True
    return False


@pytest.mark.parametrize("seed", SEEDS[:3])
async def test_a_daemon_that_keeps_its_promises_passes(seed: int) -> None:
    summary = await run(seed, 10, None, KILLS)
    assert summary.counts.sessions >= CLIENTS
    assert summary.counts.sent_again > 0


@pytest.mark.parametrize("fault", Fault)
async def test_a_fault_is_found(fault: Fault) -> None:
    kinds = TERMINATIONS if fault is Fault.LOSES_ON_TERMINATE else KILLS
    assert await finds(fault, kinds)
