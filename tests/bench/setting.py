"""The setting of a benchmark: models, threads, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.models import Models


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: longer is steadier."""

    rounds: int  # of what is measured in turns in one process
    slice_s: float  # of one thing in one round
    load_rounds: int  # likewise, if servers and clients are other processes
    load_s: float
    warm_up_s: float  # of a server under load, before it is measured
    keystrokes: int  # in one round
    repeats: int  # of a single operation over the wire
    residents: int  # idle sessions in an engine
    kept: int  # idle sessions in a daemon
    starts: int
    stored: int  # sessions that a starting daemon finds in its store


FULL = Effort(
    rounds=7,
    slice_s=0.2,
    load_rounds=3,
    load_s=2.0,
    warm_up_s=0.7,
    keystrokes=300,
    repeats=400,
    residents=1_000_000,
    kept=10_000,
    starts=5,
    stored=1_000_000,
)
QUICK = Effort(
    rounds=3,
    slice_s=0.05,
    load_rounds=1,
    load_s=0.7,
    warm_up_s=0.3,
    keystrokes=60,
    repeats=60,
    residents=50_000,
    kept=1_000,
    starts=1,
    stored=10_000,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a benchmark runs with."""

    models: Models
    threads: int  # that compute a step, as in the daemon
    effort: Effort
    say: Callable[[str], None]  # reports progress
