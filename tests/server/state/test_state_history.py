"""Rewinds and forks of a state history: their range, steps and slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.batch.limits import MAX_REWIND_WINDOW
from cellwire.server.errors import OutOfRange
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import checkpoint_interval, slots_for
from cellwire.server.state.state_history import StateHistory


def read_to(state_history: StateHistory, length: int) -> int:
    """Replay what is missing, extend the text to `length`, and return the steps taken."""
    steps = 0
    if len(state_history) == 0 < length:
        state_history.append_tokens([0])
    while state_history.replay_left or len(state_history) < length:
        left = state_history.replay_left or length - len(state_history)
        replaying = state_history.replay_left > 0
        count = min(left, state_history.steps_to_checkpoint)
        state_history.reserve_write_slot(count)
        state_history.advance(count)
        steps += count
        if not replaying:
            state_history.append_tokens(list(range(count)))
    state_history.check_integrity()
    return steps


@given(
    window=st.integers(0, MAX_REWIND_WINDOW),
    length=st.integers(1, 3_000),
    rewinds=st.lists(st.tuples(st.integers(0, MAX_REWIND_WINDOW), st.integers(0, 50)), max_size=5),
)
def test_a_rewind_replays_fewer_than_sqrt_w_steps(
    window: int, length: int, rewinds: list[tuple[int, int]]
) -> None:
    arena = Arena(slots_for(window))
    state_history = StateHistory(arena, window)
    read_to(state_history, length)
    furthest = length
    for back, further in rewinds:
        offset = len(state_history) - back
        if offset < max(0, furthest - window):
            with pytest.raises(
                OutOfRange, match=f"rewound to {state_history.rewind_floor} at the earliest"
            ):
                state_history.rewind(offset)
            continue
        state_history.rewind(offset)
        assert len(state_history) == offset
        assert read_to(state_history, offset) <= max(0, checkpoint_interval(window) - 1)
        read_to(state_history, offset + further)
        furthest = max(furthest, len(state_history))
        arena.check_integrity(state_history.held_slots())
    state_history.release()
    arena.check_integrity([])


@pytest.mark.parametrize(("window", "slots"), [(0, 2), (1, 4), (64, 7), (MAX_REWIND_WINDOW, 35)])
def test_a_window_of_w_tokens_takes_about_sqrt_w_slots(window: int, slots: int) -> None:
    assert slots_for(window) == slots
    assert checkpoint_interval(window) ** 2 >= window


def test_a_fork_shares_slots_until_it_writes() -> None:
    arena = Arena(2 * slots_for(9))
    parent = StateHistory(arena, 9)
    read_to(parent, 40)
    before = arena.taken
    child = parent.fork()
    assert arena.taken == before
    read_to(child, 60)
    read_to(parent, 41)
    arena.check_integrity([*parent.held_slots(), *child.held_slots()])
    parent.release()
    child.rewind(55)
    assert read_to(child, 55) < checkpoint_interval(9)
    arena.check_integrity(child.held_slots())
