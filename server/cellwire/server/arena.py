"""Which slot of the arena belongs to whom.

The arena is one tensor `[slots, ...]` for each state of the cell, kept by the runtime. This is the
bookkeeping beside it: plain numbers, no tensors. Two slots belong to nobody:

    TRASH   rows that only fill up a batch read and write it
    ZERO    always zeros, never written: a session's first step reads it
"""

from __future__ import annotations

from cellwire.server.errors import Full

TRASH = 0
ZERO = 1
RESERVED = 2


class Arena:
    """Allocates slots RESERVED .. RESERVED + capacity - 1."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free = list(range(RESERVED + capacity - 1, RESERVED - 1, -1))
        self._used: set[int] = set()

    @property
    def slots(self) -> int:
        """How many rows the tensors have, the reserved ones included."""
        return RESERVED + self.capacity

    @property
    def used(self) -> frozenset[int]:
        """The slots that are taken."""
        return frozenset(self._used)

    def allocate(self) -> int:
        """Return a free slot and take it; Full if there is none."""
        if not self._free:
            raise Full(f"all {self.capacity} session slots are taken; try again later")
        slot = self._free.pop()
        self._used.add(slot)
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back; KeyError if it is not taken."""
        self._used.remove(slot)
        self._free.append(slot)

    def check_integrity(self) -> None:
        """Raise AssertionError unless every slot is either free or taken, and only once."""
        free = set(self._free)
        assert len(free) == len(self._free), "a slot is free twice"
        assert not free & self._used, "a slot is both free and taken"
        assert free | self._used == set(range(RESERVED, self.slots)), "a slot is lost"
