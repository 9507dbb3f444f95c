"""Append: read a text into the session."""

from __future__ import annotations

from cellwire.server.events import Appended, Finished, FinishReason
from cellwire.server.operations import Append
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Stepping, added_up, forcing
from cellwire.server.trail import Trail


class Appending(Stepping):
    """Forces the tokens, and adds up their log-probabilities."""

    operation: Append

    def __init__(self, session_id: str, trail: Trail, emit: Emit, append: Append) -> None:
        super().__init__(session_id, trail, emit)
        self.operation = append
        self._done = 0
        self._log_probability = 0.0
        self.stride = len(append.tokens)
        if len(trail) == 0:
            # The first token of all follows nothing: it is part of the text without a step.
            self._settle([0.0])

    def row(self, steps: int) -> Row:
        """Return the row that forces the next tokens."""
        end = self._done + min(steps, self.trail.stride)
        return forcing(self.trail, self.operation.tokens[self._done : end].tolist())

    def commit(self, outcome: Outcome) -> None:
        """Add the tokens to the text."""
        self.trail.advance(len(outcome.tokens))
        self._settle(outcome.log_probabilities)

    def _settle(self, log_probabilities: list[float]) -> None:
        end = self._done + len(log_probabilities)
        self.trail.settle(self.operation.tokens[self._done : end].tolist())
        self._done = end
        self.stride = len(self.operation.tokens) - end
        self._log_probability = added_up(log_probabilities, self._log_probability)
        if self.stride == 0:
            offset = len(self.trail)
            total = self._log_probability
            self.emit(Appended(self.session_id, self.operation.id, offset, total))
            self.ended = True

    def finish(self, reason: FinishReason) -> None:
        """End; what has been read stays."""
        offset = len(self.trail)
        self.emit(
            Finished(self.session_id, self.operation.id, reason, offset, appended_chars=self._done)
        )
        self.ended = True
