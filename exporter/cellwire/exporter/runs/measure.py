"""What a network's predictions cost, in the units that people compare."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """The mean cross-entropy of a text's symbols or, of labelled texts, of their labels."""

    nats: float
    accuracy: float | None = None  # the share of labels that were right; None: there are none

    @property
    def bits(self) -> float:
        """The same in bits; per character, where characters are the symbols."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """Among how many equally likely symbols a choice would cost as much."""
        try:
            return math.exp(self.nats)
        except OverflowError:
            return math.inf

    @property
    def finite(self) -> bool:
        """Whether it is a number at all."""
        return math.isfinite(self.nats)

    def described(self, unit: str) -> str:
        """Return it in words; `unit` is what one prediction is of, such as a character."""
        if self.accuracy is not None:
            return f"{self.accuracy:.2%} right, {self.nats:.4f} nats per {unit}"
        bits = f"{self.bits:.4f} bits per {unit}"
        return f"{self.nats:.4f} nats, perplexity {self.perplexity:,.2f}, {bits}"
