"""How long a stride may take, so that commands and new rows need not wait long for its end."""

from __future__ import annotations

from cellwire.server.step import MAX_STEPS

_STRIDE_S = 0.020  # a quarter of what anybody notices between a key and its letter
_LEAST_STEPS = 4  # what a stride costs beside its steps should be shared by several


class Pace:
    """The number of steps that take about as long as a stride may."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS

    def note(self, steps: int, elapsed_s: float) -> None:
        """Take note of how long a stride of so many steps has taken."""
        if steps:
            affordable = int(_STRIDE_S * steps / max(elapsed_s, 1e-9))
            self.steps = min(MAX_STEPS, max(_LEAST_STEPS, affordable))
