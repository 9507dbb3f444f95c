"""Append: read a text into the session."""

from __future__ import annotations

from array import array

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.events import Appended, Finished, FinishReason, TextEndAfter
from cellwire.server.session.operations import Append
from cellwire.server.session.task import Emit, OperationTask, StepTask, forced_row, sum_in_order
from cellwire.server.state.state_history import StateHistory


class AppendTask(OperationTask, StepTask):
    """Forces the tokens, and adds their log-probabilities up.

    Where the end of the text is read again, the text goes back to the first token that differs.
    """

    operation: Append

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, append: Append
    ) -> None:
        OperationTask.__init__(self, session_id, state_history, emit)
        StepTask.__init__(self, state_history)
        self.operation = append
        if replaced := len(append.reread) - append.kept:
            self.replaced_tokens = tuple(state_history.text.last(replaced))
            state_history.rewind(len(state_history) - replaced)
        self._tokens = append.tokens[append.kept :]  # to add
        self._done = 0  # tokens
        self._log_probability = 0.0
        self.max_steps = len(self._tokens)
        if not self.max_steps:
            self._append([])
        elif len(state_history) == 0:
            # The first token of a session follows nothing: it joins the text without a step.
            self._append([0.0])

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        end = self._done + min(steps, self.state_history.steps_to_checkpoint)
        return forced_row(self.state_history, self._tokens[self._done : end].tolist())

    def commit(self, result: RowResult) -> None:
        """Add the tokens to the text."""
        self.state_history.advance(len(result.tokens))
        self._append(result.log_probabilities)

    def _append(self, log_probabilities: list[float]) -> None:
        end = self._done + len(log_probabilities)
        self.state_history.append_tokens(self._tokens[self._done : end].tolist())
        self._done = end
        self.max_steps = len(self._tokens) - end
        self._log_probability = sum_in_order(log_probabilities, self._log_probability)
        self.ended = self.max_steps == 0
        if self.ended:
            self.state_history.text.end = self.operation.text_end
            self.emit(
                Appended(
                    self.session_id,
                    self.operation.id,
                    len(self.state_history),
                    self._log_probability,
                    self.appended,
                    self.replaced,
                    self.operation.text_end,
                )
            )

    @property
    def appended_tokens(self) -> int:
        """The number of `appended`."""
        return self._done

    @property
    def appended(self) -> array[int]:
        """The tokens added so far."""
        return array("I", self._tokens[: self._done].tobytes())

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
                replaced=self.replaced,
                after=TextEndAfter(self.operation, self.state_history.text.end),
            )
        )
        self.ended = True
