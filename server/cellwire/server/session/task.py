"""Tasks: the work of operations that take steps, while it is in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Event, Finished, FinishReason
from cellwire.server.session.operations import (
    Append,
    Classify,
    Complete,
    Generate,
    Restore,
    Score,
)
from cellwire.server.state.state_history import StateHistory

Emit = Callable[[Event], None]
TaskedOperation = Append | Generate | Complete | Score | Classify | Restore


def forced_row(state_history: StateHistory, tokens: Sequence[int]) -> Row:
    """Return the row that reads on along a session's text, with `tokens` as its next tokens."""
    count = len(tokens)
    slot = state_history.reserve_write_slot(count)
    return Row(state_history.unread_token, state_history.head.slot, slot, count, tokens)


def sum_in_order(log_probabilities: Iterable[float], start: float = 0.0) -> float:
    """Return the sum, added from left to right, however a text was cut into runs.

    The built-in `sum` compensates for rounding, so its result depends on the cuts.
    """
    for log_probability in log_probabilities:
        start += log_probability
    return start


class RunKind(NamedTuple):
    """What a session's next run is; sessions of one kind run together."""

    beam_width: int = 0  # of its search; 0 if it takes a row instead
    single_step: bool = False  # whether its row depends on the host after every step
    adjusted: bool = False  # whether its row needs the program that adjusts logits


MULTI_STEP = RunKind()
SINGLE_STEP = RunKind(single_step=True)
ADJUSTED = RunKind(adjusted=True)


class StepTask:
    """Work that takes a row of a run, again and again until it has `ended`."""

    run_kind = MULTI_STEP

    def __init__(self, state_history: StateHistory) -> None:
        self.state_history = state_history
        self.ended = False
        # The steps until it has an answer. A longer run would delay that answer.
        self.max_steps = 1

    def row(self, steps: int) -> Row:
        """Return its row of the next run, which has at most `steps` steps."""
        raise NotImplementedError

    def commit(self, result: RowResult) -> None:
        """Record the result of that row."""
        raise NotImplementedError


class OperationTask:
    """An operation in progress. All but the last token of the session's text has been read.

    Except of a restore, which does not step.
    """

    operation: TaskedOperation
    run_kind: RunKind
    ended: bool
    max_steps: int
    replaced_tokens: tuple[int, ...] = ()  # the end of the text, which an append has taken away

    def __init__(self, session_id: str, state_history: StateHistory, emit: Emit) -> None:
        self.session_id = session_id
        self.state_history = state_history
        self.emit = emit

    @property
    def stalled(self) -> bool:
        """Whether it waits for its reader."""
        return False

    @property
    def unreported_tokens(self) -> int:
        """The number of generated tokens at the end of the text that no event has carried."""
        return 0

    @property
    def replaced(self) -> int:
        """The number of tokens at the end of the text that an append has taken away."""
        return len(self.replaced_tokens)

    @property
    def appended_tokens(self) -> int:
        """The number of `appended`."""
        return 0

    @property
    def appended(self) -> Sequence[int]:
        """The tokens that an append has added so far; no event has carried them."""
        return ()

    def flush(self) -> None:
        """Report the generated tokens that are held back."""

    def finish(self, reason: FinishReason) -> None:
        """End early. The text that it has added stays."""
        self.emit(Finished(self.session_id, self.operation.id, reason, len(self.state_history)))
        self.ended = True

    def release(self) -> None:
        """Free its slots."""

    def held_slots(self) -> list[int]:
        """Return the slots it holds, beside those of the session."""
        return []


class ReplayTask(StepTask):
    """Reads tokens of the text again, so that the head is one token behind its end."""

    def __init__(self, state_history: StateHistory) -> None:
        super().__init__(state_history)
        self.max_steps = state_history.replay_left

    def row(self, steps: int) -> Row:
        """Return the row that reads the next tokens."""
        history = self.state_history
        start = history.head.tokens_read + 1
        end = start + min(steps, history.steps_to_checkpoint, history.replay_left)
        return forced_row(history, history.text.between(start, end))

    def commit(self, result: RowResult) -> None:
        """Advance the head."""
        self.state_history.advance(len(result.tokens))
        self.max_steps = self.state_history.replay_left
        self.ended = self.max_steps == 0
