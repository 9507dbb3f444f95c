"""Classify: what a model with labels makes of the session's text."""

from __future__ import annotations

from cellwire.server.arena import TRASH
from cellwire.server.events import Classified
from cellwire.server.operations import Classify
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Stepping
from cellwire.server.trail import Trail


class Classifying(Stepping):
    """Reads the last token, and throws the state away."""

    operation: Classify

    def __init__(self, session_id: str, trail: Trail, emit: Emit, classify: Classify) -> None:
        super().__init__(session_id, trail, emit)
        self.operation = classify

    def row(self, steps: int) -> Row:  # noqa: ARG002  # one is all it takes
        """Return the row that reads the last token."""
        return Row(self.trail.unread, self.trail.head.slot, TRASH, forced=(0,))

    def commit(self, outcome: Outcome) -> None:
        """Report the scores."""
        scores = outcome.scores
        self.emit(Classified(self.session_id, self.operation.id, len(self.trail), scores))
        self.ended = True
