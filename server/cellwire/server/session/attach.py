"""What a reader that attaches to a session receives first."""

from __future__ import annotations

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.errors import OutOfRange
from cellwire.server.session.events import Attached, AttachFailed
from cellwire.server.session.told_text import ToldText


def attached(
    session_id: str,
    operation_id: int,
    offset: int | None,
    told: ToldText,
    operation_ids: tuple[int, ...],
) -> Attached | AttachFailed:
    """Return the text from `offset` on, as it was told; an `offset` of None stands for its end.

    It fails if the text does not reach the offset, or is no longer remembered from there on.
    """
    text, end = told.text, told.length
    start = end if offset is None else offset
    if not text.start <= start <= end:
        error = OutOfRange(
            f"the session is at offset {end} and remembers its text from {text.start} on; "
            f"it cannot be continued from offset {start}"
        )
        return AttachFailed(session_id, operation_id, error)
    tokens = told.between(start, end)
    before = told.between(start - MOST_INCOMPLETE, start)
    after_blank = start == text.blank_offset
    return Attached(session_id, operation_id, start, before, tokens, operation_ids, after_blank)
