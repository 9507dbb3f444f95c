"""Where a training stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cellwire.exporter.runs.measure import Measure


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands; the learning rate is that of the step just taken."""

    step: int
    steps: int
    train: Measure  # since the last validation or, between two, of the last few steps
    validation: Measure | None  # None between two, and where nothing is held out
    best_loss: float | None  # nats; None until first known
    symbols_per_s: float
    learning_rate: float = 0.0
    checkpoint: bool = False  # whether it has just been written down

    def line(self) -> dict[str, Any]:
        """Return what a line of metrics says, as plain values."""
        measures = {"train": self.train, "validation": self.validation}
        return {
            "step": self.step,
            "steps": self.steps,
            **{name: _described(measure) for name, measure in measures.items() if measure},
            "best_loss": self.best_loss,
            "symbols_per_s": self.symbols_per_s,
            "learning_rate": self.learning_rate,
        }

    @classmethod
    def of(cls, line: dict[str, Any]) -> Progress:
        """Return what a line of metrics says; KeyError or TypeError if it is none."""
        measures = {
            name: Measure(line[name]["nats"], line[name].get("accuracy")) if name in line else None
            for name in ("train", "validation")
        }
        return cls(**{**line, **measures}, checkpoint=True)


def _described(measure: Measure) -> dict[str, float]:
    """Return a measure in all its units."""
    known = {name: value for name, value in asdict(measure).items() if value is not None}
    return {**known, "bits": measure.bits, "perplexity": measure.perplexity}
