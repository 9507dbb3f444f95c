"""Classify: the scores that a model with labels gives the session's text."""

from __future__ import annotations

from cellwire.server.batch.row import Row, RowResult
from cellwire.server.batch.slots import TRASH
from cellwire.server.session.events import Classified
from cellwire.server.session.operations import Classify
from cellwire.server.session.task import Emit, OperationTask, StepTask
from cellwire.server.state.state_history import StateHistory


class ClassifyTask(OperationTask, StepTask):
    """Reads the last token, and discards the state after it."""

    operation: Classify

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, classify: Classify
    ) -> None:
        OperationTask.__init__(self, session_id, state_history, emit)
        StepTask.__init__(self, state_history)
        self.operation = classify

    def row(self, steps: int) -> Row:  # noqa: ARG002  # it takes one step
        """Return the row that reads the last token."""
        history = self.state_history
        return Row(history.unread_token, history.head.slot, TRASH, forced=(0,))

    def commit(self, result: RowResult) -> None:
        """Report the scores."""
        offset = len(self.state_history)
        self.emit(Classified(self.session_id, self.operation.id, offset, result.scores))
        self.ended = True
