"""How durable a session is."""

from __future__ import annotations

from enum import StrEnum


class Durability(StrEnum):
    """Whether a session outlives its daemon, which needs one with a store.

    Where one is an argument, its value as a string will do.
    """

    NONE = "none"
    """It ends with the daemon."""
    SAFE_LATER = "safe_later"
    """An answer comes at once, and `Session.safe` says how much is safe."""
    SAFE_FIRST = "safe_first"
    """An answer comes when all that it tells is safe."""
