"""The stretch of training from one checkpoint to the next."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.training.loss import Outcome

_RECENT = 20  # steps


class Leg:
    """Seeds what chance there is in it, and keeps its running figures.

    Losses stay where they were computed until they are asked for: on a GPU, reading one waits for
    all work before it.
    """

    def __init__(self, seed: int, step: int) -> None:
        torch.manual_seed(seed * 1_000_003 + step)
        self._losses: list[Tensor] = []
        self._right: list[Tensor] = []
        self._symbols = 0
        self._started_s = time.perf_counter()

    def add(self, outcome: Outcome, symbols: int) -> None:
        """Count one step."""
        self._losses.append(outcome.loss.detach())
        if outcome.right is not None:
            self._right.append(outcome.right)
        self._symbols += symbols

    @property
    def whole(self) -> Measure:
        """The mean over the whole leg."""
        return Measure(_mean(self._losses), _mean(self._right) if self._right else None)

    @property
    def recent(self) -> Measure:
        """The mean over the last few steps."""
        right = self._right[-_RECENT:]
        return Measure(_mean(self._losses[-_RECENT:]), _mean(right) if right else None)

    @property
    def symbols_per_s(self) -> float:
        """Symbols trained on per second since the leg began."""
        return self._symbols / (time.perf_counter() - self._started_s)


def _mean(values: list[Tensor]) -> float:
    return torch.stack(values).double().mean().item()
