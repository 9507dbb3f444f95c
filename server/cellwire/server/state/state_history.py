"""The states kept along a session's text.

A checkpoint is a state, known by the number of tokens the cell has read to reach it. The newest
checkpoint is the head: a run reads it and writes a later one. The last token of a text is always
unread (see session.py), so the head of a text of n tokens has read n - 1 of them, or fewer. If
fewer, the missing tokens are replayed before the next operation. A rewind therefore only drops the
tokens and the checkpoints after its target.

No state is ever copied. Where the head must be kept for rewinds, the next run writes another slot.

A history can be parked: it then holds no slots, only a copy of its oldest state in host memory.
When it is unparked, it has that one checkpoint, and the rest is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.batch.stepper import State
from cellwire.server.errors import CellwireError, OutOfRange
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import checkpoint_interval, slots_for
from cellwire.server.state.text_history import TextHistory


class Checkpoint(NamedTuple):
    """A state in a slot."""

    tokens_read: int
    slot: int


_NOTHING_READ = Checkpoint(0, ZERO)


class StateHistory:
    """A text and the states along it. Holds its slots until `release`."""

    __slots__ = (
        "_arena",
        "_checkpoints",
        "_interval",
        "_parked",
        "_write_slot",
        "rewind_floor",
        "text",
        "window",
    )

    def __init__(
        self,
        arena: Arena,
        window: int,
        text: TextHistory | None = None,
        checkpoints: Iterable[Checkpoint] = (_NOTHING_READ,),
        rewind_floor: int = 0,
    ) -> None:
        """Reserve `slots_for(window)` slots, or raise ResourceExhausted.

        `checkpoints`, oldest first, belong to this history from now on.
        """
        arena.reserve(slots_for(window))
        self.text = TextHistory() if text is None else text
        self.window = window
        self.rewind_floor = rewind_floor  # the earliest offset it can be rewound to
        self._arena = arena
        self._interval = checkpoint_interval(window)
        self._checkpoints = list(checkpoints)
        self._parked: tuple[int, State] | None = None  # tokens read, and the state after them
        self._write_slot: int | None = None  # of the run in progress, if it is not the head's

    @classmethod
    def from_snapshot(
        cls, arena: Arena, window: int, text: TextHistory, rewind_floor: int, tokens_read: int
    ) -> StateHistory:
        """Return a history with one checkpoint, whose slot the caller fills.

        The tokens after the first `tokens_read` are replayed when they are needed.
        """
        history = cls(arena, window, text, rewind_floor=rewind_floor)
        if tokens_read:
            history._checkpoints = [Checkpoint(tokens_read, arena.allocate())]
        return history

    def __len__(self) -> int:
        """Return the length of the text, in tokens."""
        return self.text.length

    @property
    def head(self) -> Checkpoint:
        """The newest checkpoint."""
        return self._checkpoints[-1]

    def checkpoint_before(self, offset: int) -> Checkpoint:
        """Return the newest checkpoint that leaves the token before `offset` unread."""
        needed = _read_at(offset)
        return next(c for c in reversed(self._checkpoints) if c.tokens_read <= needed)

    @property
    def unread_token(self) -> int:
        """The token that the next run reads first."""
        return self.text[self._checkpoints[-1].tokens_read]

    @property
    def replay_left(self) -> int:
        """The number of tokens to replay before the next operation."""
        return max(0, self.text.length - 1 - self._checkpoints[-1].tokens_read)

    @property
    def steps_to_checkpoint(self) -> int:
        """The most steps of the next run: it ends at the next state to be kept."""
        if not self._interval:
            return MAX_STEPS
        return min(MAX_STEPS, self._interval - self._checkpoints[-1].tokens_read % self._interval)

    def reserve_write_slot(self, steps: int, *, keep_head: bool = False) -> int:
        """Return the slot for the state after `steps` steps.

        It is the head's own, unless the head is shared, or must be kept: for rewinds, or on demand.
        """
        slot = self.head.slot
        if keep_head or self._rewinds_need_head(steps) or not self._arena.may_write(slot):
            self._write_slot = self._arena.allocate()
            return self._write_slot
        return slot

    def _rewinds_need_head(self, steps: int) -> bool:
        if not self._interval:
            return False
        alone = len(self._checkpoints) == 1
        return self._on_interval or (alone and self.head.tokens_read + steps >= self.rewind_floor)

    @property
    def _on_interval(self) -> bool:
        return self._interval > 0 and self.head.tokens_read % self._interval == 0

    def advance(self, steps: int) -> None:
        """Record that the run was made: `steps` tokens are read, and the state is written."""
        head = self._checkpoints[-1]
        if self._write_slot is None:
            self._checkpoints[-1] = Checkpoint(head.tokens_read + steps, head.slot)
            return
        if not self._on_interval and len(self._checkpoints) > 1:
            self._arena.release(self._checkpoints.pop().slot)
        self._checkpoints.append(Checkpoint(head.tokens_read + steps, self._write_slot))
        self._write_slot = None
        self._drop_unneeded()

    def discard_write(self) -> None:
        """Free the slot of a run that was not made, or that read too far. The head stays."""
        if self._write_slot is not None:
            self._arena.release(self._write_slot)
            self._write_slot = None

    def append_tokens(self, tokens: list[int]) -> None:
        """Add tokens to the text; the rewind floor follows."""
        self.text.extend(tokens)
        floor = self.text.length - self.window
        if floor > self.rewind_floor:
            self.rewind_floor = floor
            self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        """Free the checkpoints before the last one that serves the rewind floor."""
        checkpoints, needed = self._checkpoints, _read_at(self.rewind_floor)
        while len(checkpoints) > 1 and checkpoints[1].tokens_read <= needed:
            self._arena.release(checkpoints.pop(0).slot)

    def check_rewind(self, offset: int) -> None:
        """Raise OutOfRange if an offset is beyond the text, or before the rewind floor."""
        if not self.rewind_floor <= offset <= len(self):
            raise OutOfRange(
                f"the session is at offset {len(self)} and can be rewound to {self.rewind_floor} "
                f"at the earliest, not to {offset}"
            )

    def rewind(self, offset: int) -> None:
        """Go back to an earlier length; OutOfRange as `check_rewind`."""
        self.check_rewind(offset)
        self.text.truncate(offset)
        while self.head.tokens_read > _read_at(offset):
            self._arena.release(self._checkpoints.pop().slot)

    def fork(self) -> StateHistory:
        """Return a copy that shares all states; ResourceExhausted without room for its own."""
        copy = StateHistory(
            self._arena, self.window, self.text.copy(), self._checkpoints, self.rewind_floor
        )
        for checkpoint in self._checkpoints:
            self._arena.share(checkpoint.slot)
        return copy

    def oldest_state(self, read_state: Callable[[int], State]) -> tuple[int, State]:
        """Return the tokens read by the oldest checkpoint, and a copy of its state."""
        if self._parked is not None:
            return self._parked
        tokens_read, slot = self._checkpoints[0]
        return tokens_read, read_state(slot)

    @property
    def parked(self) -> bool:
        """Whether it holds no slots; it must be unparked before it is stepped or rewound."""
        return self._parked is not None

    def park(self, read_state: Callable[[int], State]) -> None:
        """Free all slots, and keep a copy of the oldest state."""
        oldest = self.oldest_state(read_state)
        self.release()
        self._parked = oldest

    def unpark(self, write_state: Callable[[int, State], None]) -> None:
        """Put the state back into a slot. It stays parked if that raises a CellwireError."""
        if self._parked is None:
            return
        tokens_read, state = self._parked
        self._arena.reserve(slots_for(self.window))
        self._checkpoints = [
            Checkpoint(tokens_read, self._arena.allocate()) if tokens_read else _NOTHING_READ
        ]
        self._parked = None
        try:
            if tokens_read:
                write_state(self.head.slot, state)
        except CellwireError:
            self.release()
            self._parked = tokens_read, state
            raise

    def become(self, text: TextHistory, rewind_floor: int, tokens_read: int, state: State) -> None:
        """Go on from another text and a state that has read the first of it; it is parked then."""
        self.release()
        self.text, self.rewind_floor = text, rewind_floor
        self._parked = tokens_read, state

    def release(self) -> None:
        """Free all slots. Unless it is parked, it must not be used afterwards."""
        if self._parked is not None:
            return
        for slot in self.held_slots():
            self._arena.release(slot)
        self._checkpoints.clear()
        self._write_slot = None
        self._arena.unreserve(slots_for(self.window))

    def held_slots(self) -> list[int]:
        """Return the slots it holds."""
        slots = [checkpoint.slot for checkpoint in self._checkpoints]
        return slots if self._write_slot is None else [*slots, self._write_slot]

    def check_integrity(self) -> None:
        """Raise AssertionError unless the checkpoints serve every rewind that is allowed."""
        if self._parked is not None:
            assert not self.held_slots(), "it is parked, and holds slots"
            reads = [self._parked[0]]
        else:
            reads = [checkpoint.tokens_read for checkpoint in self._checkpoints]
        assert reads == sorted(set(reads)), "checkpoints out of order"
        assert reads[0] <= _read_at(self.rewind_floor), "the rewind floor cannot be reached"
        assert reads[-1] <= _read_at(len(self)), "a state has read beyond the text"
        assert len(self.held_slots()) <= slots_for(self.window), "more slots held than reserved"
        gaps = [later - earlier for earlier, later in pairwise(reads[1:])]
        assert all(gap <= max(1, self._interval) for gap in gaps), "a replay would be long"
        assert self.rewind_floor >= len(self) - self.window
        assert self.text.start <= reads[0], "tokens to replay are forgotten"


def _read_at(offset: int) -> int:
    """Return the most tokens that a state may have read in a text of `offset` tokens."""
    return max(0, offset - 1)
