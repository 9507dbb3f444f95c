"""How a training goes through its text: lanes, windows, epochs, and so the number of steps.

What was not asked for is fitted to the length of the text. A short text gets fewer lanes, so that
an epoch has enough steps, and more epochs, so that the training has; a very short one gets shorter
windows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from cellwire.exporter.corpus import Windows

LANES, WINDOW, EPOCHS = 64, 128, 10

_FEWEST_LANES = 8
_FEWEST_WINDOWS = 16
_STEPS_PER_EPOCH = 100
_FEWEST_STEPS = 1_000
_VALIDATE_EVERY = 250


@dataclass(frozen=True, slots=True)
class Plan:
    """The way through a training text of `chars` characters."""

    chars: int
    windows: Windows
    epochs: int

    @classmethod
    def fitting(
        cls,
        chars: int,
        lanes: int | None = None,
        window: int | None = None,
        epochs: int | None = None,
    ) -> Plan:
        """Choose what is None; CorpusError when the text has no whole window."""
        window = window or max(1, min(WINDOW, chars // _FEWEST_WINDOWS))
        lanes = lanes or min(LANES, max(_FEWEST_LANES, chars // (window * _STEPS_PER_EPOCH)))
        plan = cls(chars, Windows(lanes, window), EPOCHS)
        plan = replace(plan, windows=Windows.fitting(plan.epoch_chars, lanes, window))
        enough = max(EPOCHS, math.ceil(_FEWEST_STEPS / plan.epoch_steps))
        return replace(plan, epochs=epochs or enough)

    @property
    def jitter(self) -> int:
        """At how many different characters an epoch may start, so that windows fall differently."""
        window = self.windows.window
        return min(window, max(1, self.chars - window - 1))

    @property
    def epoch_chars(self) -> int:
        """The length of an epoch's text, whichever character it starts at."""
        return self.chars - self.jitter + 1

    @property
    def epoch_steps(self) -> int:
        """The steps of an epoch."""
        return self.windows.count(self.epoch_chars)

    @property
    def steps(self) -> int:
        """The steps of the whole training."""
        return self.epoch_steps * self.epochs

    @property
    def validate_every(self) -> int:
        """How many steps to train between validations, unless something else was asked for."""
        return min(_VALIDATE_EVERY, max(1, self.steps // 10))
