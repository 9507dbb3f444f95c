"""Trials with real daemons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.crash.disk import Disk
from tests.crash.real import RealDaemon
from tests.crash.service import Service
from tests.crash.shared_store import RedisStore
from tests.crash.trial import Outage, Summary, Trial
from tests.crash.violation import Violation

DAEMONS = 2  # that share a store
LEASE_S = 1.0


async def run(
    model: Path,
    state: Path,
    seed: int,
    outages: Sequence[Outage],
    clients: int,
    *arguments: str,
    disk: Disk | None = None,
) -> tuple[Summary, str]:
    """Run clients against daemons on one folder, beside one that nothing interrupts.

    Returns what has happened, and the end of the daemons' log. Violation, with that log.
    """
    daemon = RealDaemon(model, "--state", str(state), *arguments, disk=disk)
    return await _run(model, seed, outages, clients, [daemon])


async def run_shared(
    model: Path,
    folder: Path,
    seed: int,
    outages: Sequence[Outage],
    clients: int,
    *arguments: str,
) -> tuple[Summary, str]:
    """Run clients against two daemons on one Redis server, as `run`."""
    store = RedisStore(folder)
    await store.start()
    shared = ["--state", store.url, "--lease-s", str(LEASE_S), *arguments]
    try:
        daemons = [RealDaemon(model, *shared) for _ in range(DAEMONS)]
        return await _run(model, seed, outages, clients, daemons, store)
    finally:
        store.stop()


async def _run(
    model: Path,
    seed: int,
    outages: Sequence[Outage],
    clients: int,
    daemons: Sequence[RealDaemon],
    store: RedisStore | None = None,
) -> tuple[Summary, str]:
    reference = RealDaemon(model)
    try:
        trial = Trial(Service(*daemons), await reference.start(), seed, store)
        return await trial.run(outages, clients), _log(daemons)
    except Violation as violation:
        raise Violation(f"{violation}\n{_log(daemons)}") from violation
    finally:
        for daemon in (*daemons, reference):
            await daemon.stop()


def _log(daemons: Sequence[RealDaemon]) -> str:
    return "\n".join(daemon.log for daemon in daemons)
