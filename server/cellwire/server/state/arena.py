"""The ownership of the arena's slots.

The arena is one tensor `[slots, ...]` for each state of the cell, kept by the runtime. This is the
bookkeeping beside it, without tensors.

A slot may have several holders, who may read it; only a sole holder may write it. A fork therefore
copies no state. A holder reserves, beforehand, as many slots as it ever holds at once, so room is
found or refused when a session or a search begins, and never in the middle of a step.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO
from cellwire.server.errors import ResourceExhausted


class Arena:
    """Hands out slots RESERVED_SLOTS .. RESERVED_SLOTS + capacity - 1."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reserved = 0  # slots that holders may take
        self.taken = 0  # slots that have a holder
        self._holders = array("I", [0] * RESERVED_SLOTS)  # their number, of each slot ever used
        self._free: list[int] = []

    @property
    def slots(self) -> int:
        """The rows of the tensors, reserved slots included."""
        return RESERVED_SLOTS + self.capacity

    @property
    def unreserved(self) -> int:
        """The slots that can still be reserved."""
        return self.capacity - self.reserved

    def reserve(self, slots: int) -> None:
        """Ensure that `slots` slots can be allocated, or raise ResourceExhausted."""
        if self.unreserved < slots:
            raise ResourceExhausted(
                f"{self.reserved:,} of {self.capacity:,} state slots are reserved, and this "
                f"takes {slots:,}; try again later"
            )
        self.reserved += slots

    def unreserve(self, slots: int) -> None:
        """Return reserved slots."""
        self.reserved -= slots

    def allocate(self) -> int:
        """Take a free slot, which must have been reserved, and return it."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._holders)
            assert slot < self.slots, "more slots are taken than were reserved"
            self._holders.append(0)
        self._holders[slot] = 1
        self.taken += 1
        return slot

    def share(self, slot: int) -> None:
        """Add a holder to a slot."""
        if slot != ZERO:
            assert self._holders[slot], "the slot has no holder"
            self._holders[slot] += 1

    def release(self, slot: int) -> None:
        """Remove a holder from a slot; the last one frees it."""
        if slot == ZERO:
            return
        assert self._holders[slot], "the slot has no holder"
        self._holders[slot] -= 1
        if self._holders[slot] == 0:
            self.taken -= 1
            self._free.append(slot)

    def may_write(self, slot: int) -> bool:
        """Whether a slot has exactly one holder."""
        return self._holders[slot] == 1

    def check_integrity(self, held: Iterable[int]) -> None:
        """Raise AssertionError unless `held`, each slot once for each holder, is right."""
        holders = {slot: count for slot, count in enumerate(self._holders) if count}
        free = set(self._free)
        assert len(free) == len(self._free), "a slot is free twice"
        assert not free & holders.keys(), "a slot is both free and taken"
        used = set(range(RESERVED_SLOTS, len(self._holders)))
        assert free | holders.keys() == used, "a slot is lost"
        assert Counter(slot for slot in held if slot != ZERO) == holders, "wrong holders"
        assert len(holders) == self.taken <= self.reserved <= self.capacity
