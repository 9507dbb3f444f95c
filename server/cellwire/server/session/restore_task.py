"""Restore: go on from a named checkpoint, which the session's host has."""

from __future__ import annotations

from cellwire.server.errors import CellwireError
from cellwire.server.session.events import (
    CheckpointRestored,
    Finished,
    FinishReason,
    SnapshotNeeded,
    TextEndAfter,
)
from cellwire.server.session.operations import Restore
from cellwire.server.session.task import MULTI_STEP, Emit, OperationTask
from cellwire.server.state.snapshot import SessionSnapshot, from_token_bytes
from cellwire.server.state.state_history import StateHistory
from cellwire.server.state.text_history import TextHistory


class RestoreTask(OperationTask):
    """Takes no steps: it waits for the snapshot, and what comes after it in the session waits."""

    operation: Restore
    run_kind = MULTI_STEP
    max_steps = 1
    stalled = True  # until it has ended
    ended = False

    def __init__(
        self, session_id: str, state_history: StateHistory, emit: Emit, restore: Restore
    ) -> None:
        super().__init__(session_id, state_history, emit)
        self.operation = restore
        emit(SnapshotNeeded(session_id, restore))

    def restore(self, snapshot: SessionSnapshot) -> None:
        """Go on from a snapshot. The session is parked: it takes slots when it next steps."""
        history = self.state_history
        text = TextHistory(snapshot.text_start, from_token_bytes(snapshot.token_bytes))
        text.end, text.blank_offset = snapshot.text_end, snapshot.blank_offset
        history.become(text, snapshot.rewind_floor, snapshot.tokens_read, snapshot.state)
        after = TextEndAfter(self.operation, text.end)
        operation = self.operation
        self.emit(
            CheckpointRestored(
                self.session_id, operation.id, operation.name, len(history), snapshot, after
            )
        )
        self.ended = True

    def finish(self, reason: FinishReason) -> None:
        """End early, with nothing restored."""
        history, operation = self.state_history, self.operation
        after = TextEndAfter(operation, history.text.end)
        self.emit(Finished(self.session_id, operation.id, reason, len(history), after=after))
        self.ended = True


Supplied = SessionSnapshot | CellwireError
"""What a restore waits for, or why there is none."""
