"""Score: the likelihood of a text as the continuation of the session's."""

from __future__ import annotations

from collections.abc import Sequence

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Scored
from cellwire.server.session.operations import Score
from cellwire.server.session.task import Emit, OperationTask, StepTask, sum_in_order
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory

SLOTS = 1


class ScoreTask(OperationTask, StepTask):
    """Forces the tokens like an append, but in a slot that is not the session's.

    Where the end of the text is read again, it reads on from a checkpoint before that end.
    """

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
        kept = score.kept
        self._start = len(state_history) - len(score.reread) + kept  # of the scored tokens
        self._before: Sequence[int] = ()  # tokens of the text that are read first
        self._tokens = score.tokens[kept:]  # to score
        self._done = 0  # tokens that have been forced
        # The first token of a session follows nothing, and counts as certain.
        self._unscored = 0 if self._start else min(1, len(self._tokens))
        self._log_probabilities = [0.0] * self._unscored
        self._end_if_done()

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        if self._slot is None:
            # Not earlier: the replay before the task moves checkpoints.
            tokens_read, read_slot = self.state_history.checkpoint_before(self._start)
            self._before = self.state_history.text.between(tokens_read, self._start)
            self._slot = self._arena.allocate()
        else:
            read_slot = self._slot
        done = self._done
        token, *forced = self._between(done, done + 1 + steps)
        return Row(token, read_slot, self._slot, len(forced), forced)

    def _between(self, start: int, end: int) -> list[int]:
        """Return some of the tokens that are read, the text's own first."""
        own = len(self._before)
        scored = self._tokens[max(0, start - own) : max(0, end - own)]
        return [*self._before[start:end], *scored.tolist()]

    def commit(self, result: RowResult) -> None:
        """Record the log-probabilities, without those of the text's own tokens."""
        own = max(0, len(self._before) - 1 - self._done)
        self._log_probabilities += result.log_probabilities[own:]
        self._done += len(result.tokens)
        self._end_if_done()

    def _end_if_done(self) -> None:
        self.max_steps = len(self._tokens) - len(self._log_probabilities)
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
