"""A checkpoint: the state of a training after a validation. A pause: after any other step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

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
    def checkpoint_step(self) -> int:
        """The step itself, as of a pause it is that of the checkpoint before."""
        return self.step

    @property
    def measure(self) -> Measure:
        """Loss and accuracy."""
        return Measure(self.loss, self.accuracy)


@dataclass(frozen=True, slots=True)
class Pause:
    """All that a training needs to go on between two checkpoints as if it had never been stopped.

    Beside weights, it holds what a checkpoint starts afresh: the recurrent state, the generators of
    dropout, and the losses since the last checkpoint.
    """

    step: int
    checkpoint_step: int  # of the last checkpoint; 0: there is none
    best_loss: float | None  # nats; None: nothing has been measured
    model: dict[str, Any]
    optimizer: dict[str, Any]
    log_bytes: dict[str, int]  # the lengths of the logs, by name
    state: tuple[Tensor, ...]  # after the step, each [layers, lanes, hidden]
    span: dict[str, Any]  # the steps since the last checkpoint, see training/checkpoint_span.py
