"""What the curves of a training show, in numbers that a verdict can be given on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cellwire.exporter.runs.progress import Progress


@dataclass(frozen=True, slots=True)
class Setting:
    """What a training was given: the size of text and network, and dropout."""

    baseline_nats: float  # of a guess that knows only how often each symbol or label occurs
    train_tokens: int
    parameters: int
    held_out_texts: int = 0  # of a classifier
    dropout: bool = False


@dataclass(frozen=True, slots=True)
class Trend:
    """The losses at the checkpoints of a training, in nats."""

    setting: Setting
    steps: tuple[int, ...]
    train: tuple[float, ...]  # means since the checkpoint before; with dropout, higher than without
    held_out: tuple[float, ...]
    accuracy: float | None = None  # of labels held out, at the checkpoint of the lowest loss

    @classmethod
    def of(cls, checkpoints: Sequence[Progress], setting: Setting) -> Trend | None:
        """Return the trend of a training; None if nothing is held out."""
        measured = [(p.step, p.train.nats, p.validation) for p in checkpoints if p.validation]
        if not measured:
            return None
        best = min((measure for _, _, measure in measured), key=lambda measure: measure.nats)
        return cls(
            setting,
            steps=tuple(step for step, _, _ in measured),
            train=tuple(nats for _, nats, _ in measured),
            held_out=tuple(measure.nats for _, _, measure in measured),
            accuracy=best.accuracy,
        )

    @property
    def best(self) -> float:
        """The lowest loss on what is held out."""
        return min(self.held_out)

    @property
    def best_step(self) -> int:
        """The first step of the lowest loss."""
        return self.steps[self.held_out.index(self.best)]

    @property
    def rise_since_best(self) -> float:
        """By what fraction the loss has risen from its lowest to the end."""
        return _fraction(self.held_out[-1] - self.best, self.best)

    @property
    def train_fell_since_best(self) -> bool:
        """Whether the training loss fell while that on what is held out rose."""
        return self.train[-1] < self.train[self.held_out.index(self.best)]

    @property
    def gain_of_second_half(self) -> float:
        """By what fraction the loss fell from the middle checkpoint to the end; negative: rose."""
        middle = self.held_out[len(self.held_out) // 2 - 1] if len(self.held_out) > 1 else self.best
        return _fraction(middle - self.held_out[-1], middle)

    @property
    def gap(self) -> float:
        """By what fraction the loss is higher at the end on what is held out than in training."""
        return _fraction(self.held_out[-1] - self.train[-1], self.train[-1])

    @property
    def largest_rises(self) -> tuple[float, float]:
        """How far the losses in training and on what is held out rose above their lowest before.

        As fractions of the baseline.
        """
        baseline = self.setting.baseline_nats
        return (
            _fraction(_largest_rise(self.train), baseline),
            _fraction(_largest_rise(self.held_out), baseline),
        )


def entropy(counts: Iterable[int]) -> float:
    """Return the entropy of symbols or labels that occur so often, in nats."""
    present = [count for count in counts if count]
    total = sum(present)
    return -sum(count / total * math.log(count / total) for count in present)


def _largest_rise(losses: Sequence[float]) -> float:
    lowest, rise = losses[0], 0.0
    for loss in losses:
        lowest = min(lowest, loss)
        rise = max(rise, loss - lowest)
    return rise


def _fraction(difference: float, whole: float) -> float:
    return (
        difference / whole if whole else math.copysign(math.inf, difference) if difference else 0.0
    )
