"""What is left of a deleted session in a Redis server, for a while."""

from __future__ import annotations

DELETION_S = 60
"""For which a deletion is remembered, so that no daemon that was paused undoes it."""


def deletion_key(session_id: str) -> str:
    """Return the name of the epoch of a session's end."""
    return f"cellwire:deleted:{{{session_id}}}"
