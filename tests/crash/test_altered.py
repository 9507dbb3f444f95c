"""Altered bytes: only the sessions that they belong to suffer, and say so."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
from grpc import aio
from tests.crash.altered import RECORDS, Kept, alter_file, alter_record, leave_session, wake
from tests.crash.real import DoesNotStart, RealDaemon
from tests.crash.stub import Stub

pytestmark = pytest.mark.slow

SESSIONS = 9


async def leave_sessions(daemon: RealDaemon, random: Random) -> list[Kept]:
    async with aio.insecure_channel(await daemon.start()) as channel:
        stub = Stub(channel)
        kept = [await leave_session(stub, random) for _ in range(SESSIONS)]
    await daemon.terminate()
    return kept


async def wake_all(daemon: RealDaemon, kept: list[Kept]) -> list[str]:
    """Return how each session wakes; "refused" if the daemon says that its database is damaged."""
    try:
        async with aio.insecure_channel(await daemon.start()) as channel:
            stub = Stub(channel)
            return [await wake(stub, each) for each in kept]
    except DoesNotStart as refusal:
        return ["refused" if "damaged" in str(refusal) else str(refusal)] * len(kept)
    finally:
        await daemon.stop()


async def test_an_altered_record_hurts_its_own_session(model: Path, tmp_path: Path) -> None:
    random = Random(3)
    state = tmp_path / "state"
    daemon = RealDaemon(model, "--state", str(state))
    kept = await leave_sessions(daemon, random)
    for session, table in zip(kept, RECORDS, strict=False):
        alter_record(state, session.session_id, table, random)
    found = await wake_all(daemon, kept)
    for session, status in zip(kept[: len(RECORDS)], found, strict=False):
        assert status.startswith("DATA_LOSS")
        assert session.session_id in status
    assert found[len(RECORDS) :] == ["whole"] * (SESSIONS - len(RECORDS))


async def test_no_alteration_gives_another_text(model: Path, tmp_path: Path) -> None:
    """A byte where SQLite keeps the order of a page may hide all sessions that are on it."""
    random = Random(4)
    state = tmp_path / "state"
    daemon = RealDaemon(model, "--state", str(state))
    kept = await leave_sessions(daemon, random)
    whole = tmp_path / "whole"
    state.rename(whole)
    for bytes_altered in (1, 5, 50):
        shutil.copytree(whole, state)
        alter_file(state, random, bytes_altered)
        found = await wake_all(daemon, kept)
        hurt = [status.split(":")[0] for status in found if status != "whole"]
        assert "whole" in found or hurt == ["refused"] * SESSIONS or bytes_altered == 50
        assert set(hurt) <= {"DATA_LOSS", "NOT_FOUND", "refused"}
        shutil.rmtree(state)
