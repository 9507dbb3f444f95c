"""Slots: each allocated once, shared by count, and freed by the last holder."""

from __future__ import annotations

import pytest

from cellwire.server.errors import ResourceExhausted
from cellwire.server.state.arena import Arena


def test_each_slot_is_allocated_once_and_freed_by_its_last_holder() -> None:
    arena = Arena(3)
    arena.reserve(3)
    slots = [arena.allocate() for _ in range(3)]
    assert sorted(slots) == [2, 3, 4]
    with pytest.raises(ResourceExhausted, match="slots are reserved"):
        arena.reserve(1)
    arena.share(slots[0])
    assert not arena.may_write(slots[0])
    arena.release(slots[0])
    assert arena.may_write(slots[0])
    for slot in slots:
        arena.release(slot)
    arena.check_integrity([])
    with pytest.raises(AssertionError, match="no holder"):
        arena.release(slots[0])
