"""How long a stride may take, so that commands and new rows need not wait long for its end."""

from __future__ import annotations

import math

from cellwire.server.batch.step import MAX_STEPS

_STRIDE_S = 0.020  # a quarter of what anybody notices between a key and its letter
# What a stride costs beside its steps should be shared by several, however long they take; but the
# more there are, the less is gained by still more, so many must be quick.
_LEAST_STEPS = 4
_MANY_STEPS = 8
_MANY_STEPS_S = 0.010


class StepBudget:
    """The number of steps that take about as long as a stride may."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self._last_step_s = math.inf

    def note(self, steps: int, elapsed_s: float) -> None:
        """Take note of how long a stride of so many steps has taken."""
        if steps:
            # The quicker of the last two: one may have had a program compiled first.
            last_step_s, self._last_step_s = self._last_step_s, max(elapsed_s, 1e-9) / steps
            step_s = min(last_step_s, self._last_step_s)
            few, many = int(_STRIDE_S / step_s), int(_MANY_STEPS_S / step_s)
            self.steps = max(_LEAST_STEPS, min(_MANY_STEPS, few), min(MAX_STEPS, many))
