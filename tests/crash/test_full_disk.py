"""A disk that is full now and then: sessions go on, and what was called safe is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.conftest import SEED, crash
from tests.crash.disk import small_disk
from tests.crash.trial import FULL_DISKS, Kind, draw_outages

pytestmark = pytest.mark.slow


async def test_a_full_disk(model: Path, tmp_path: Path) -> None:
    counted = {Kind.FULL_DISK}
    outages = draw_outages(SEED, 6, FULL_DISKS, counted=counted, most_messages=100)
    with small_disk(tmp_path / "disk") as disk:
        state = disk.folder / "state"
        summary, log = await crash(model, state, SEED, outages, disk=disk)
    assert summary.outages[Kind.FULL_DISK] == 6
    assert "not safe at present" in log
