"""A measure: loss and accuracy, in the usual units."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """The mean cross-entropy of a text's tokens or, of labelled texts, of their labels."""

    nats: float
    accuracy: float | None = None  # fraction of correct labels; None: the network has no labels

    @property
    def bits(self) -> float:
        """The loss in bits: per character, where the symbols are characters."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """The number of equally likely symbols that would have the same loss."""
        try:
            return math.exp(self.nats)
        except OverflowError:
            return math.inf

    @property
    def is_finite(self) -> bool:
        """Whether the loss is finite."""
        return math.isfinite(self.nats)

    def describe(self, unit: str) -> str:
        """Return the measure for people; `unit` names one prediction, such as a character."""
        if self.accuracy is not None:
            return f"accuracy {self.accuracy:.2%}, {self.nats:.4f} nats per {unit}"
        bits = f"{self.bits:.4f} bits per {unit}"
        return f"{self.nats:.4f} nats, perplexity {self.perplexity:,.2f}, {bits}"
