"""The rewind window: how far back a session can go, and how many slots that takes.

For a window of w tokens a state is kept every sqrt(w) tokens, but no more often than a multi-step
run is long. That takes about sqrt(w) slots, and a rewind replays fewer than sqrt(w) tokens.
"""

from __future__ import annotations

import math

from cellwire.server.batch.step import MAX_STEPS


def checkpoint_interval(window: int) -> int:
    """Return the distance between kept states, in tokens; 0 if none are kept."""
    return max(MAX_STEPS, math.isqrt(window - 1) + 1) if window else 0


def slots_for(window: int) -> int:
    """Return the most slots a session holds at once: kept states, the head, the one written."""
    return (window - 1) // checkpoint_interval(window) + 4 if window else 2
