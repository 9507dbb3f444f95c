"""An operation that takes steps, while it is being carried out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from cellwire.server.events import Event, Finished, FinishReason
from cellwire.server.operations import Append, Classify, Complete, Generate, Score
from cellwire.server.row import Outcome, Row
from cellwire.server.trail import Trail

Stepped = Append | Generate | Complete | Score | Classify
Emit = Callable[[Event], None]


def forcing(trail: Trail, tokens: Sequence[int]) -> Row:
    """Return the row that reads on along a trail, and settles these tokens."""
    count = len(tokens)
    return Row(trail.unread, trail.head.slot, trail.place_to_write(count), count, tokens)


def added_up(log_probabilities: Iterable[float], start: float = 0.0) -> float:
    """Return their sum, added in their order, wherever a text was cut.

    `sum` compensates for rounding, so its result depends on the cuts.
    """
    for log_probability in log_probabilities:
        start += log_probability
    return start


class Run(ABC):
    """Asked for its rows, told what came of them, until it has `ended`.

    It is asked only when all but the last token of the trail has been read.
    """

    operation: Stepped

    def __init__(self, session_id: str, trail: Trail, emit: Emit) -> None:
        self.session_id = session_id
        self.trail = trail
        self.emit = emit
        self.ended = False
        # How many rows it has for the next stride.
        self.row_count = 1
        # How many steps the next stride may have without keeping anybody waiting: it may make fewer
        # of them, but its answer would wait for the others' steps.
        self.stride = 1

    @property
    def stalled(self) -> bool:
        """Whether it must wait for its reader."""
        return False

    @property
    def unreported(self) -> int:
        """How many of the text's last tokens nobody has been told of yet."""
        return 0

    @abstractmethod
    def rows(self, steps: int) -> list[Row]:
        """Return its rows for the next stride, none of which makes more than `steps`."""

    @abstractmethod
    def commit(self, outcomes: list[Outcome]) -> None:
        """Take over what came of those rows."""

    def finish(self, reason: FinishReason) -> None:
        """End before its time, saying why."""
        self.emit(Finished(self.session_id, self.operation.id, reason, len(self.trail)))
        self.ended = True

    def release(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of the slots it holds."""

    def held(self) -> list[int]:
        """Return the slots it holds."""
        return []
