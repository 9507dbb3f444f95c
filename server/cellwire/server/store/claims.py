"""The epochs of a daemon's claims to sessions."""

from __future__ import annotations

import threading
from collections.abc import Iterable

FIRST_EPOCH = 1
"""Of a session's creation. No session has epoch 0."""


class Claims:
    """The epoch of each session that this daemon has claimed. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[str, int] = {}

    def epoch(self, session_id: str) -> int:
        """Return the epoch of a claim; 0 if there is none."""
        with self._lock:
            return self._epochs.get(session_id, 0)

    def note(self, session_id: str, epoch: int) -> None:
        """Know a claim."""
        with self._lock:
            self._epochs[session_id] = epoch

    def drop(self, session_ids: Iterable[str]) -> None:
        """Know these claims no longer: the sessions were released, deleted or lost."""
        with self._lock:
            for session_id in session_ids:
                self._epochs.pop(session_id, None)
