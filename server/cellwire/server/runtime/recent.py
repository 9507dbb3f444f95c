"""A dictionary of what was made last: of too many entries, the oldest goes."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V]):
    """Holds at most so many entries."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self and len(self) == self._most:
            del self[next(iter(self))]
        super().__setitem__(key, value)
