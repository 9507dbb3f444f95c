"""Score: how likely a text is as the continuation of the session's."""

from __future__ import annotations

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Scored
from cellwire.server.session.operations import Score
from cellwire.server.session.task import Emit, StepTask, added_up
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory

_SLOTS = 1


class ScoreTask(StepTask):
    """Forces the tokens, as an append would, but in a slot of its own."""

    operation: Score

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, score: Score, arena: Arena
    ) -> None:
        """Reserve a slot; Full if there is none."""
        super().__init__(session_id, state_history, emit)
        arena.reserve(_SLOTS)
        self.operation = score
        self._arena = arena
        self._slot: int | None = None
        self._first = 0 if len(state_history) else 1  # the first token of a session follows nothing
        self._log_probabilities = [0.0] * self._first
        self._end_if_done()

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        place = len(self._log_probabilities)
        read = self.state_history.head.slot if self._slot is None else self._slot
        token = (
            self.state_history.unread_token if place == 0 else int(self.operation.tokens[place - 1])
        )
        if self._slot is None:
            self._slot = self._arena.allocate()
        forced = self.operation.tokens[place : place + steps].tolist()
        return Row(token, read, self._slot, len(forced), forced)

    def commit(self, outcome: RowResult) -> None:
        """Take note of the tokens' log-probabilities."""
        self._log_probabilities += outcome.log_probabilities
        self._end_if_done()

    def _end_if_done(self) -> None:
        self.max_steps = len(self.operation.tokens) - len(self._log_probabilities)
        if self.max_steps:
            return
        each = tuple(self._log_probabilities) if self.operation.log_probabilities else ()
        scored = len(self._log_probabilities) - self._first
        total = added_up(self._log_probabilities)
        self.emit(Scored(self.session_id, self.operation.id, total, scored, each))
        self.ended = True

    def release(self) -> None:
        """Let go of the slot."""
        if self._slot is not None:
            self._arena.release(self._slot)
        self._arena.unreserve(_SLOTS)

    def held(self) -> list[int]:
        """Return the slot, once it has one."""
        return [] if self._slot is None else [self._slot]
