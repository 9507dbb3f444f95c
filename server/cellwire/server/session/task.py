"""An operation that takes steps, while it is being carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Event, Finished, FinishReason
from cellwire.server.session.operations import Append, Classify, Complete, Generate, Score
from cellwire.server.state.state_history import StateHistory

Stepped = Append | Generate | Complete | Score | Classify
Emit = Callable[[Event], None]


def forcing(state_history: StateHistory, tokens: Sequence[int]) -> Row:
    """Return the row that reads on along a trail, and settles these tokens."""
    count = len(tokens)
    return Row(
        state_history.unread_token,
        state_history.head.slot,
        state_history.reserve_write_slot(count),
        count,
        tokens,
    )


def added_up(log_probabilities: Iterable[float], start: float = 0.0) -> float:
    """Return their sum, added in their order, wherever a text was cut.

    `sum` compensates for rounding, so its result depends on the cuts.
    """
    for log_probability in log_probabilities:
        start += log_probability
    return start


class Task:
    """Goes on until it has `ended`; only while all but the last token of the trail has been read.

    It either takes its steps one after the other, or searches.
    """

    operation: Stepped

    def __init__(self, session_id: str, state_history: StateHistory, emit: Emit) -> None:
        self.session_id = session_id
        self.state_history = state_history
        self.emit = emit
        self.ended = False
        self.beam_width = 0  # of its search, if it is one
        # How many steps the next stride may have without keeping anybody waiting: it may make fewer
        # of them, but its answer would wait for the others' steps.
        self.max_steps = 1

    @property
    def stalled(self) -> bool:
        """Whether it must wait for its reader."""
        return False

    @property
    def unreported(self) -> int:
        """How many of the text's last tokens nobody has been told of yet."""
        return 0

    def finish(self, reason: FinishReason) -> None:
        """End before its time, saying why."""
        self.emit(Finished(self.session_id, self.operation.id, reason, len(self.state_history)))
        self.ended = True

    def release(self) -> None:
        """Let go of the slots it holds."""

    def held(self) -> list[int]:
        """Return the slots it holds."""
        return []


class StepTask(Task):
    """Asked for its row of a stride, and told what came of it."""

    def row(self, steps: int) -> Row:
        """Return its row of the next stride, which makes no more than so many steps."""
        raise NotImplementedError

    def commit(self, outcome: RowResult) -> None:
        """Take over what came of that row."""
        raise NotImplementedError
