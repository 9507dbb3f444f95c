"""Operations that leave the text as it is and take no steps: they wait for their turn alone."""

from __future__ import annotations

from cellwire.server.session.events import Checkpointed, Discarded, Saved, TextEndAfter
from cellwire.server.session.operations import Checkpoint, Discard, Save
from cellwire.server.state.text_history import TextHistory

InstantOperation = Save | Checkpoint | Discard


def answer_to(
    session_id: str, operation: InstantOperation, text: TextHistory
) -> Saved | Checkpointed | Discarded:
    """Return the answer in a session of a text."""
    after = TextEndAfter(operation, text.end)
    match operation:
        case Save():
            return Saved(session_id, operation.id)
        case Checkpoint():
            return Checkpointed(session_id, operation.id, operation.name, text.length, after)
        case Discard():
            return Discarded(session_id, operation.id, operation.name, after)
