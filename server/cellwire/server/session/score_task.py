"""Score: the likelihood of a text as the continuation of the session's."""

from __future__ import annotations

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Scored
from cellwire.server.session.operations import Score
from cellwire.server.session.task import Emit, OperationTask, StepTask, sum_in_order
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory

SLOTS = 1


class ScoreTask(OperationTask, StepTask):
    """Forces the tokens like an append, but in a slot that is not the session's."""

    operation: Score

    def __init__(
        self,
        session_id: str,
        state_history: StateHistory,
        emit: Emit,
        score: Score,
        arena: Arena,
    ) -> None:
        """Reserve a slot, or raise ResourceExhausted."""
        OperationTask.__init__(self, session_id, state_history, emit)
        StepTask.__init__(self, state_history)
        arena.reserve(SLOTS)
        self.operation = score
        self._arena = arena
        self._slot: int | None = None
        # The first token of a session follows nothing, and counts as certain.
        self._unscored = 0 if len(state_history) else 1
        self._log_probabilities = [0.0] * self._unscored
        self._end_if_done()

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        done, tokens = len(self._log_probabilities), self.operation.tokens
        read_slot = self.state_history.head.slot if self._slot is None else self._slot
        token = self.state_history.unread_token if done == 0 else int(tokens[done - 1])
        if self._slot is None:
            self._slot = self._arena.allocate()
        forced = tokens[done : done + steps].tolist()
        return Row(token, read_slot, self._slot, len(forced), forced)

    def commit(self, result: RowResult) -> None:
        """Record the log-probabilities."""
        self._log_probabilities += result.log_probabilities
        self._end_if_done()

    def _end_if_done(self) -> None:
        self.max_steps = len(self.operation.tokens) - len(self._log_probabilities)
        self.ended = self.max_steps == 0
        if self.ended:
            self.emit(
                Scored(
                    self.session_id,
                    self.operation.id,
                    sum_in_order(self._log_probabilities),
                    len(self._log_probabilities) - self._unscored,
                    tuple(self._log_probabilities) if self.operation.log_probabilities else (),
                )
            )

    def release(self) -> None:
        """Free the slot."""
        if self._slot is not None:
            self._arena.release(self._slot)
        self._arena.unreserve(SLOTS)

    def held_slots(self) -> list[int]:
        """Return the slot, once it is allocated."""
        return [] if self._slot is None else [self._slot]
