"""How far back, at what cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.arena import Arena
from cellwire.server.errors import OutOfRange
from cellwire.server.trail import MAX_WINDOW, Trail, interval_of, slots_for


def read_to(trail: Trail, length: int) -> int:
    """Let the text grow to `length`, and return how many steps it takes to have read it."""
    steps = 0
    if len(trail) == 0 < length:
        trail.settle([0])
    while trail.missing or len(trail) < length:
        missing = trail.missing or length - len(trail)
        catching_up = trail.missing > 0
        count = min(missing, trail.stride)
        trail.place_to_write(count)
        trail.advance(count)
        steps += count
        if not catching_up:
            trail.settle(range(count))
    trail.check_integrity()
    return steps


@given(
    window=st.integers(0, MAX_WINDOW),
    length=st.integers(1, 3_000),
    moves=st.lists(st.tuples(st.integers(0, MAX_WINDOW), st.integers(0, 50)), max_size=5),
)
def test_a_rewind_replays_less_than_an_interval(
    window: int, length: int, moves: list[tuple[int, int]]
) -> None:
    arena = Arena(slots_for(window))
    trail = Trail(arena, window)
    read_to(trail, length)
    furthest = length
    for back, on in moves:
        offset = len(trail) - back
        if offset < max(0, furthest - window):
            with pytest.raises(OutOfRange, match=f"rewound to {trail.floor} at the earliest"):
                trail.rewind(offset)
            continue
        trail.rewind(offset)
        assert len(trail) == offset
        assert read_to(trail, offset) <= max(0, interval_of(window) - 1)
        read_to(trail, offset + on)
        furthest = max(furthest, len(trail))
        arena.check_integrity(trail.held())
    trail.release()
    arena.check_integrity([])


@pytest.mark.parametrize(("window", "slots"), [(0, 2), (1, 4), (64, 7), (MAX_WINDOW, 35)])
def test_what_a_window_costs(window: int, slots: int) -> None:
    assert slots_for(window) == slots
    assert interval_of(window) ** 2 >= window


def test_a_fork_shares_until_it_writes() -> None:
    arena = Arena(2 * slots_for(9))
    parent = Trail(arena, 9)
    read_to(parent, 40)
    before = arena._taken
    child = parent.fork()
    assert arena._taken == before
    read_to(child, 60)
    read_to(parent, 41)
    arena.check_integrity([*parent.held(), *child.held()])
    parent.release()
    child.rewind(55)
    assert read_to(child, 55) < interval_of(9)
    arena.check_integrity(child.held())
