"""Up to where a durable session is safe."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_MOST_WAITING = 1_024  # a session that generates has 50 revisions a second


class SafePoint(NamedTuple):
    """How much of a session is in the store."""

    revision: int
    offset: int  # the length of the text at that revision


class SafeRevisions:
    """The revisions of a session that are safe, and those that wait for the store.

    If very many wait, because the store is slow or fails, not all lengths are remembered: the safe
    point may then be one that was reached a little earlier.
    """

    def __init__(self) -> None:
        self.point: SafePoint | None = None  # None until the empty session is safe
        self.revision = -1  # the last that is safe
        self.ended = False  # nothing more becomes safe
        self._last = SafePoint(0, 0)
        self._waiting = deque[SafePoint]()

    @property
    def all(self) -> bool:
        """Whether nothing waits for the store."""
        return self.revision >= self._last.revision

    def add(self, revision: int, offset: int) -> None:
        """Wait for a revision, at which the text has the length `offset`."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting = deque(list(self._waiting)[1::2])
        self._last = SafePoint(revision, offset)
        self._waiting.append(self._last)

    def advance(self, revision: int) -> bool:
        """Note that a revision is safe; return whether the safe point is another one."""
        before, point = self.point, self.point or SafePoint(0, 0)
        while self._waiting and self._waiting[0].revision <= revision:
            point = self._waiting.popleft()
        self.revision, self.point = max(revision, self.revision), point
        return point != before
