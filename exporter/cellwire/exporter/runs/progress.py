"""The progress of a training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cellwire.exporter.runs.measure import Measure


@dataclass(frozen=True, slots=True)
class Progress:
    """A training's figures after a step."""

    step: int
    steps: int  # of the whole training
    train: Measure  # since the last checkpoint or, between two, of the last few steps
    validation: Measure | None  # None between checkpoints, and if nothing is held out
    best_loss: float | None  # nats; None before the first checkpoint
    tokens_per_s: float
    learning_rate: float = 0.0  # of this step
    checkpoint: bool = False  # whether a checkpoint has just been written

    def to_line(self) -> dict[str, Any]:
        """Return a line of metrics, as plain values."""
        measures = {"train": self.train, "validation": self.validation}
        return {
            "step": self.step,
            "steps": self.steps,
            **{name: _in_all_units(measure) for name, measure in measures.items() if measure},
            "best_loss": self.best_loss,
            "tokens_per_s": self.tokens_per_s,
            "learning_rate": self.learning_rate,
        }

    @classmethod
    def from_line(cls, line: dict[str, Any]) -> Progress:
        """Return a line of metrics as progress; KeyError or TypeError if it is invalid."""
        measures = {
            name: Measure(line[name]["nats"], line[name].get("accuracy")) if name in line else None
            for name in ("train", "validation")
        }
        return cls(**{**line, **measures}, checkpoint=True)


def _in_all_units(measure: Measure) -> dict[str, float]:
    known = {name: value for name, value in asdict(measure).items() if value is not None}
    return {**known, "bits": measure.bits, "perplexity": measure.perplexity}
