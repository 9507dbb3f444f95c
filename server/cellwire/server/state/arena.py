"""Which slot of the arena belongs to whom.

The arena is one tensor `[slots, ...]` for each state of the cell, kept by the runtime. This is the
bookkeeping beside it: plain numbers, no tensors. Two slots belong to nobody:

    TRASH   rows whose next state nobody wants write it
    ZERO    always zeros, never written: a session's first step reads it

A slot may have several holders, who then all read it and none may write it: that is how a fork
costs nothing. Whoever is to hold slots reserves, beforehand, as many as it will ever hold at once;
so there is room for a session or there is not, and never too little in the middle of a step. Where
there is not, `make_room` may make some first.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable

from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO
from cellwire.server.errors import ResourceExhausted


class Arena:
    """Hands out slots RESERVED_SLOTS .. RESERVED_SLOTS + capacity - 1."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.make_room: Callable[[int], None] = _cannot_make_room  # for so many slots
        self._holders = array(
            "I", [0] * RESERVED_SLOTS
        )  # how many, for each slot that was ever used
        self._free: list[int] = []
        self._taken = 0
        self._reserved = 0

    @property
    def slots(self) -> int:
        """How many rows the tensors have, the two that belong to nobody included."""
        return RESERVED_SLOTS + self.capacity

    @property
    def reserved(self) -> int:
        """How many slots are spoken for."""
        return self._reserved

    @property
    def unreserved(self) -> int:
        """How many slots are not."""
        return self.capacity - self._reserved

    def reserve(self, slots: int) -> None:
        """Make sure that so many slots can be taken; Full if they cannot."""
        if self.unreserved < slots:
            self.make_room(slots)
        if self.unreserved < slots:
            raise ResourceExhausted(
                f"{self._reserved:,} of {self.capacity:,} state slots are spoken for, and this "
                f"takes {slots:,}; try again later"
            )
        self._reserved += slots

    def unreserve(self, slots: int) -> None:
        """Give back what `reserve` made sure of."""
        self._reserved -= slots

    def allocate(self) -> int:
        """Take a free slot, which must have been reserved, and return it."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._holders)
            assert slot < self.slots, "more slots are taken than were reserved"
            self._holders.append(0)
        self._holders[slot] = 1
        self._taken += 1
        return slot

    def share(self, slot: int) -> None:
        """Add a holder to a slot."""
        if slot != ZERO:
            assert self._holders[slot], "nobody holds the slot"
            self._holders[slot] += 1

    def release(self, slot: int) -> None:
        """Take a holder from a slot; the last one frees it."""
        if slot == ZERO:
            return
        assert self._holders[slot], "nobody holds the slot"
        self._holders[slot] -= 1
        if self._holders[slot] == 0:
            self._taken -= 1
            self._free.append(slot)

    def may_write(self, slot: int) -> bool:
        """Whether a slot has one holder only."""
        return self._holders[slot] == 1

    def check_integrity(self, held: Iterable[int]) -> None:
        """Raise AssertionError unless `held`, each slot as often as somebody holds it, is right."""
        holders = {slot: count for slot, count in enumerate(self._holders) if count}
        free = set(self._free)
        assert len(free) == len(self._free), "a slot is free twice"
        assert not free & holders.keys(), "a slot is both free and taken"
        used = set(range(RESERVED_SLOTS, len(self._holders)))
        assert free | holders.keys() == used, "a slot is lost"
        assert Counter(slot for slot in held if slot != ZERO) == holders, "wrong holders"
        assert len(holders) == self._taken <= self._reserved <= self.capacity


def _cannot_make_room(_: int) -> None:
    """Leave everything as it is."""
