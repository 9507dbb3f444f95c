"""Append: read a text into the session."""

from __future__ import annotations

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Appended, Finished, FinishReason
from cellwire.server.session.operations import Append
from cellwire.server.session.task import Emit, StepTask, added_up, forcing
from cellwire.server.state.state_history import StateHistory


class AppendTask(StepTask):
    """Forces the tokens, and adds up their log-probabilities."""

    operation: Append

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, append: Append
    ) -> None:
        super().__init__(session_id, state_history, emit)
        self.operation = append
        self._done = 0
        self._log_probability = 0.0
        self.max_steps = len(append.tokens)
        if len(state_history) == 0:
            # The first token of all follows nothing: it is part of the text without a step.
            self._settle([0.0])

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        end = self._done + min(steps, self.state_history.steps_to_checkpoint)
        return forcing(self.state_history, self.operation.tokens[self._done : end].tolist())

    def commit(self, outcome: RowResult) -> None:
        """Add the tokens to the text."""
        self.state_history.advance(len(outcome.tokens))
        self._settle(outcome.log_probabilities)

    def _settle(self, log_probabilities: list[float]) -> None:
        end = self._done + len(log_probabilities)
        self.state_history.settle(self.operation.tokens[self._done : end].tolist())
        self._done = end
        self.max_steps = len(self.operation.tokens) - end
        self._log_probability = added_up(log_probabilities, self._log_probability)
        if self.max_steps == 0:
            offset = len(self.state_history)
            total = self._log_probability
            self.emit(Appended(self.session_id, self.operation.id, offset, total))
            self.ended = True

    def finish(self, reason: FinishReason) -> None:
        """End; what has been read stays."""
        offset = len(self.state_history)
        self.emit(
            Finished(self.session_id, self.operation.id, reason, offset, appended_tokens=self._done)
        )
        self.ended = True
