"""How often something can be done per second, and how two paces compare.

The speed of a shared machine drifts. Things to compare are therefore measured in turns, round after
round. Each round gives a ratio, and the median of these ratios is the figure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from tests.bench.figures import HIGH, LOW

_WARM_UP_RUNS = 3


def runs_per_s(run: Callable[[], None], seconds: float) -> float:
    """Do something again and again for so long."""
    for _ in range(_WARM_UP_RUNS):
        run()
    runs, start = 0, perf_counter()
    while True:
        for _ in range(4):
            run()
        runs += 4
        passed_s = perf_counter() - start
        if passed_s >= seconds:
            return runs / passed_s


def in_turns(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take each measure once a round."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return each round's ratio; nan where the time was too short to measure anything."""
    return [a / b if b else math.nan for a, b in zip(over, under, strict=True)]


def figure(name: str, rounds: Sequence[float]) -> dict[str, float]:
    """Return the median of a figure's rounds, and how far they lie apart."""
    return {
        name: statistics.median(rounds),
        f"{name}{LOW}": min(rounds),
        f"{name}{HIGH}": max(rounds),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so many of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
