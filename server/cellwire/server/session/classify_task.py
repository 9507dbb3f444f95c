"""Classify: what a model with labels makes of the session's text."""

from __future__ import annotations

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.batch.slots import TRASH
from cellwire.server.session.events import Classified
from cellwire.server.session.operations import Classify
from cellwire.server.session.task import Emit, StepTask
from cellwire.server.state.state_history import StateHistory


class ClassifyTask(StepTask):
    """Reads the last token, and throws the state away."""

    operation: Classify

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, classify: Classify
    ) -> None:
        super().__init__(session_id, state_history, emit)
        self.operation = classify

    def row(self, steps: int) -> Row:  # noqa: ARG002  # one is all it takes
        """Return the row that reads the last token."""
        return Row(
            self.state_history.unread_token, self.state_history.head.slot, TRASH, forced=(0,)
        )

    def commit(self, outcome: RowResult) -> None:
        """Report the scores."""
        scores = outcome.scores
        self.emit(Classified(self.session_id, self.operation.id, len(self.state_history), scores))
        self.ended = True
