"""Append: read a text into the session."""

from __future__ import annotations

from array import array

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Appended, Finished, FinishReason
from cellwire.server.session.operations import Append
from cellwire.server.session.task import Emit, OperationTask, StepTask, forced_row, sum_in_order
from cellwire.server.state.state_history import StateHistory


class AppendTask(OperationTask, StepTask):
    """Forces the tokens, and adds their log-probabilities up."""

    operation: Append

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, append: Append
    ) -> None:
        OperationTask.__init__(self, session_id, state_history, emit)
        StepTask.__init__(self, state_history)
        self.operation = append
        self._done = 0  # tokens
        self._log_probability = 0.0
        self.max_steps = len(append.tokens)
        if len(state_history) == 0:
            # The first token of a session follows nothing: it joins the text without a step.
            self._append([0.0])

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        end = self._done + min(steps, self.state_history.steps_to_checkpoint)
        return forced_row(self.state_history, self.operation.tokens[self._done : end].tolist())

    def commit(self, result: RowResult) -> None:
        """Add the tokens to the text."""
        self.state_history.advance(len(result.tokens))
        self._append(result.log_probabilities)

    def _append(self, log_probabilities: list[float]) -> None:
        end = self._done + len(log_probabilities)
        self.state_history.append_tokens(self.operation.tokens[self._done : end].tolist())
        self._done = end
        self.max_steps = len(self.operation.tokens) - end
        self._log_probability = sum_in_order(log_probabilities, self._log_probability)
        self.ended = self.max_steps == 0
        if self.ended:
            self.emit(
                Appended(
                    self.session_id,
                    self.operation.id,
                    len(self.state_history),
                    self._log_probability,
                    self.appended,
                )
            )

    @property
    def appended(self) -> array[int]:
        """The tokens added so far."""
        return array("I", self.operation.tokens[: self._done].tobytes())

    def finish(self, reason: FinishReason) -> None:
        """End early; the tokens that have been read stay."""
        self.emit(
            Finished(
                self.session_id,
                self.operation.id,
                reason,
                len(self.state_history),
                appended_tokens=self._done,
                appended=self.appended,
            )
        )
        self.ended = True
