"""A checkpoint: the state of a training after one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cellwire.exporter.runs.measure import Measure


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a training needs to be resumed.

    The loss is that of the held-out part or, if nothing is held out, of the training part.
    """

    step: int
    loss: float  # nats
    best_loss: float  # the lowest so far
    accuracy: float | None  # of labels
    held_out: bool  # whether the loss is of the held-out part
    model: dict[str, Any]
    optimizer: dict[str, Any]
    log_bytes: dict[str, int]  # the lengths of the logs, by name

    @property
    def measure(self) -> Measure:
        """Loss and accuracy."""
        return Measure(self.loss, self.accuracy)
