"""The number of steps in a run, bounded by the time that commands and new rows wait for its end."""

from __future__ import annotations

import math

from cellwire.server.batch.step import MAX_STEPS

_RUN_S = 0.020  # a quarter of what is noticed between a key and its letter
# A run's fixed cost should be shared by several steps, even if these are slow. The more steps share
# it, the less another one gains: many steps must therefore be quick.
_MIN_STEPS = 4
_MANY_STEPS = 8
_MANY_STEPS_S = 0.010


class StepBudget:
    """The steps that a run may have, from the time that the last runs took."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self._last_step_s = math.inf

    def record(self, steps: int, elapsed_s: float) -> None:
        """Record a run of `steps` steps; 0 steps have no effect."""
        if steps:
            # The quicker of the last two: one of them may have compiled a program.
            last_step_s, self._last_step_s = self._last_step_s, max(elapsed_s, 1e-9) / steps
            step_s = min(last_step_s, self._last_step_s)
            few, many = int(_RUN_S / step_s), int(_MANY_STEPS_S / step_s)
            self.steps = max(_MIN_STEPS, min(_MANY_STEPS, few), min(MAX_STEPS, many))
