"""The names of figures, and the bounds that some of them must meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

LOW, HIGH = ".low", ".high"  # after a figure's name: the least and the greatest of its rounds


def names(benchmark: str, *parts: Iterable[object]) -> tuple[str, ...]:
    """Return the names of a benchmark's figures: every combination of their parts."""
    return tuple(".".join(map(str, (benchmark, *each))) for each in product(*parts))


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must come to."""

    value: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


def _at_most(value: float) -> Bound:
    return Bound(value, at_most=True)


_MIXED = ("raw", "raw_alternatives", "served", "served_alternatives")
_MIXED_FLOORS = (("S", 0.92), ("M", 0.95), ("L", 0.95))

BOUNDS: dict[str, Bound] = {
    "gpu.failed_parts": _at_most(0),
    "gpu.tokens_per_s.L.512": Bound(500_000),
    "raw.cell_ratio.L.64": Bound(0.93),
    "raw.cell_ratio.M.64": Bound(0.90),
    "raw.cell_ratio.S.64": Bound(0.70),
    "raw.gemm_ratio.L.64": Bound(0.80),
    "served.ratio.L.1": Bound(0.80),
    "served.ratio.L.64": Bound(0.85),
    "served.ratio.L.256": Bound(0.90),
    "served.ratio.M.64": Bound(0.65),
    "served.ratio.S.64": Bound(0.40),
    **{f"mixed.{kind}.{size}": Bound(floor) for kind in _MIXED for size, floor in _MIXED_FLOORS},
    "alternatives.naive.L.64": Bound(4),
    "alternatives.naive.M.64": Bound(4),
    "alternatives.litserve.L.64": Bound(8),
    "keystroke.p50_ratio.alone": _at_most(1.5),
    "keystroke.p99_ratio.loaded": _at_most(3),
    "idle.overhead_bytes": _at_most(1_024),
    "idle.step_ratio": _at_most(1.05),
    "slots.fork_ratio": _at_most(2),
    "slots.rewind_ratio": _at_most(2),
    "prefill.gap_ratio": _at_most(3),
    "growth.topk_ratio.3000": _at_most(1.5),
    "growth.topp_ratio.1000": _at_most(1.5),
    "growth.topp_ratio.3000": _at_most(1.7),
    "trainer.speed_ratio.S": Bound(1),
    "trainer.speed_ratio.M": Bound(1),
    "trainer.speed_ratio.L": Bound(1),
    "start.ready_s": _at_most(1.5),
    "start.first_token_s": _at_most(2),
    "durable.served_ratio.safe_later.M.64": Bound(0.9),
    "durable.served_ratio.safe_later.L.64": Bound(0.9),
    "durable.keystroke_ratio.safe_later.p50": _at_most(1.1),
    "durable.start_ratio": _at_most(1.2),
}
