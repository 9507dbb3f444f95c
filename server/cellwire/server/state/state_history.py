"""The states a session keeps along its text.

A state is known by how many tokens the cell has read to get there. The newest kept one is the
head; a stride reads it and writes a later one. The session's last token is always still unread (see
session.py), so in a text of n tokens the head has read n - 1, or fewer: then the trail is `behind`,
and the tokens between are read before anything else happens. That is all there is to a rewind:
forget the tokens and the states after it, and if the last state left is an earlier one, be behind.

For a rewind window of w tokens a state is kept every sqrt(w) tokens, but no more often than a
stride is long: some sqrt(w) slots, and a replay of less than sqrt(w) steps. No state is ever
copied: a head that must be kept is left where it is, and the next stride writes another slot.

A trail can be parked: then it holds no slots, only a copy of its oldest state, in the host's
memory. Where it goes on from there, it is behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.batch.stepper import State
from cellwire.server.errors import CellwireError, OutOfRange
from cellwire.server.state.arena import Arena
from cellwire.server.state.text_history import TextHistory


class Checkpoint(NamedTuple):
    """A state, and where it is."""

    read: int  # tokens
    slot: int


DEFAULT_WINDOW = 64  # tokens
MAX_WINDOW = 1_024

_NOTHING_READ = Checkpoint(0, ZERO)


def interval_of(window: int) -> int:
    """Return how many tokens apart states are kept for a rewind window."""
    return max(MAX_STEPS, math.isqrt(window - 1) + 1) if window else 0


def slots_for(window: int) -> int:
    """Return how many slots a trail may hold at once: the kept, the head, the one being written."""
    return (window - 1) // interval_of(window) + 4 if window else 2


class StateHistory:
    """A text with its states. Holds its slots until `release`."""

    __slots__ = (
        "_arena",
        "_checkpoints",
        "_floor",
        "_interval",
        "_parked",
        "_writing",
        "history",
        "window",
    )

    def __init__(
        self,
        arena: Arena,
        window: int,
        history: TextHistory | None = None,
        checkpoints: Iterable[Checkpoint] = (_NOTHING_READ,),
        floor: int = 0,
    ) -> None:
        """Reserve slots, Full if there are too few; holds `kept` from now on, the head last."""
        arena.reserve(slots_for(window))
        self.history = history or TextHistory()
        self.window = window
        self._arena = arena
        self._interval = interval_of(window)
        self._checkpoints = list(checkpoints)
        self._parked: tuple[int, State] | None = None  # tokens read, and the state after them
        self._writing: int | None = None
        self._floor = floor

    @classmethod
    def behind_its_text(
        cls, arena: Arena, window: int, history: TextHistory, floor: int, read: int
    ) -> StateHistory:
        """Return a trail with one state only, whose slot (the head's) is still to be filled.

        That state has read `read` tokens; the others will be read when they are needed.
        """
        state_history = cls(arena, window, history, floor=floor)
        if read:
            state_history._checkpoints = [Checkpoint(read, arena.allocate())]
        return state_history

    def __len__(self) -> int:
        """Return the length of the text."""
        return len(self.history)

    @property
    def floor(self) -> int:
        """The earliest offset it can be rewound to."""
        return self._floor

    @property
    def head(self) -> Checkpoint:
        """The newest state."""
        return self._checkpoints[-1]

    @property
    def unread_token(self) -> int:
        """The token the next stride reads first."""
        return self.history[self._checkpoints[-1].read]

    @property
    def replay_left(self) -> int:
        """How many tokens before the last one are still to be read: then it is behind."""
        return max(0, self.history.length - 1 - self._checkpoints[-1].read)

    @property
    def steps_to_checkpoint(self) -> int:
        """How many steps the next stride may have: as far as to the next state to be kept."""
        if not self._interval:
            return MAX_STEPS
        return min(MAX_STEPS, self._interval - self._checkpoints[-1].read % self._interval)

    def reserve_write_slot(self, steps: int, *, anew: bool = False) -> int:
        """Return the slot for the state after so many steps.

        That is the head's own, unless the head must stay as it is, or is to (`anew`).
        """
        slot = self.head.slot
        if anew or self._head_must_stay(steps) or not self._arena.may_write(slot):
            self._writing = self._arena.allocate()
            return self._writing
        return slot

    def _head_must_stay(self, steps: int) -> bool:
        """Whether a rewind may need the head: being on the interval, or all there is."""
        if not self._interval:
            return False
        alone = len(self._checkpoints) == 1
        return self._on_interval or (alone and self.head.read + steps >= self._floor)

    @property
    def _on_interval(self) -> bool:
        """Whether the head is one of the states that are kept for rewinds."""
        return self._interval > 0 and self.head.read % self._interval == 0

    def advance(self, steps: int) -> None:
        """Take note that the stride has been made: tokens are read, the state is written."""
        head = self._checkpoints[-1]
        if self._writing is None:
            self._checkpoints[-1] = Checkpoint(head.read + steps, head.slot)
            return
        if not self._on_interval and len(self._checkpoints) > 1:
            self._arena.release(self._checkpoints.pop().slot)
        self._checkpoints.append(Checkpoint(head.read + steps, self._writing))
        self._writing = None
        self._drop_unneeded()

    def discard_write(self) -> None:
        """Take no note of the stride, whose state was written anew: it went too far."""
        assert self._writing is not None
        self._arena.release(self._writing)
        self._writing = None

    def cancel_write(self) -> None:
        """Give back the slot of a stride that has not been made."""
        if self._writing is not None:
            self.discard_write()

    def settle(self, tokens: Iterable[int]) -> None:
        """Add tokens to the text."""
        self.history.extend(tokens)
        floor = self.history.length - self.window
        if floor > self._floor:
            self._floor = floor
            self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        """Let go of states that no rewind needs: those before the last that serves the floor."""
        checkpoints = self._checkpoints
        while len(checkpoints) > 1 and checkpoints[1].read <= max(0, self._floor - 1):
            self._arena.release(checkpoints.pop(0).slot)

    def rewind(self, offset: int) -> None:
        """Go back to an earlier length; OutOfRange if it is later, or before the floor."""
        if not self._floor <= offset <= len(self.history):
            raise OutOfRange(
                f"the session is at offset {len(self.history)} and can be rewound to {self._floor} "
                f"at the earliest, not to {offset}"
            )
        self.history.truncate(offset)
        while self.head.read > max(0, offset - 1):
            self._arena.release(self._checkpoints.pop().slot)

    def fork(self) -> StateHistory:
        """Return a trail of its own that begins as this one is; Full if there is no room."""
        copy = StateHistory(
            self._arena, self.window, self.history.copy(), self._checkpoints, self._floor
        )
        for checkpoints in self._checkpoints:
            self._arena.share(checkpoints.slot)
        return copy

    def oldest(self, read_state: Callable[[int], State]) -> tuple[int, State]:
        """Return how many tokens the oldest state has read, and a copy of it."""
        if self._parked is not None:
            return self._parked
        read, slot = self._checkpoints[0]
        return read, read_state(slot)

    @property
    def parked(self) -> bool:
        """Whether it holds no slots: then it must be unparked before it is stepped, or rewound."""
        return self._parked is not None

    def park(self, read_state: Callable[[int], State]) -> None:
        """Let go of all slots, and keep a copy of the oldest state."""
        oldest = self.oldest(read_state)
        self.release()
        self._parked = oldest

    def unpark(self, write_state: Callable[[int, State], None]) -> None:
        """Put the state back, and be behind; Full, without room, or another error: stay parked."""
        if self._parked is None:
            return
        read, state = self._parked
        self._arena.reserve(slots_for(self.window))
        self._checkpoints = [Checkpoint(read, self._arena.allocate()) if read else _NOTHING_READ]
        self._parked = None
        try:
            if read:
                write_state(self.head.slot, state)
        except CellwireError:
            self.release()
            self._parked = read, state
            raise

    def release(self) -> None:
        """Let go of all slots; but for being parked, the trail must not be used afterwards."""
        if self._parked is not None:
            return
        for slot in self.held():
            self._arena.release(slot)
        self._checkpoints.clear()
        self._writing = None
        self._arena.unreserve(slots_for(self.window))

    def held(self) -> list[int]:
        """Return the slots it holds."""
        slots = [checkpoints.slot for checkpoints in self._checkpoints]
        return slots if self._writing is None else [*slots, self._writing]

    def check_integrity(self) -> None:
        """Raise AssertionError unless the kept states serve every rewind that is allowed."""
        if self._parked is not None:
            assert not self.held(), "it is parked, and holds slots"
        reads = (
            [self._parked[0]]
            if self._parked
            else [checkpoints.read for checkpoints in self._checkpoints]
        )
        assert reads == sorted(set(reads)), "states out of order"
        assert reads[0] <= max(0, self._floor - 1), "the floor cannot be reached"
        assert reads[-1] <= max(0, len(self.history) - 1), "a state has read what is no text"
        assert len(self.held()) <= slots_for(self.window), "more slots held than reserved"
        gaps = [later - earlier for earlier, later in pairwise(reads[1:])]
        assert all(gap <= max(1, self._interval) for gap in gaps), "a replay would be long"
        assert self._floor >= len(self.history) - self.window
        assert self.history.start <= reads[0], "tokens to replay are forgotten"
