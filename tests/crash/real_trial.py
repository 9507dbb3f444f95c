"""A trial with real daemons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.crash.disk import Disk
from tests.crash.real import RealDaemon
from tests.crash.service import Service
from tests.crash.trial import Outage, Summary, Trial
from tests.crash.violation import Violation


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
    reference = RealDaemon(model)
    daemon = RealDaemon(model, "--state", str(state), *arguments, disk=disk)
    try:
        trial = Trial(Service(daemon), await reference.start(), seed)
        return await trial.run(outages, clients), daemon.log
    except Violation as violation:
        raise Violation(f"{violation}\n{daemon.log}") from violation
    finally:
        await daemon.stop()
        await reference.stop()
