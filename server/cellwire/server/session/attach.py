"""What a reader that attaches to a session receives first."""

from __future__ import annotations

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.errors import OutOfRange
from cellwire.server.session.events import Attached
from cellwire.server.state.text_history import TextHistory


def attached(
    session_id: str,
    operation_id: int,
    offset: int | None,
    text: TextHistory,
    end: int,
    operation_ids: tuple[int, ...],
) -> Attached:
    """Return the text from `offset` up to `end`; an `offset` of None stands for `end`.

    OutOfRange if the text does not reach the offset, or is no longer remembered from there on.
    """
    start = end if offset is None else offset
    if not text.start <= start <= end:
        raise OutOfRange(
            f"the session is at offset {end} and remembers its text from {text.start} on; "
            f"it cannot be continued from offset {start}"
        )
    tokens = tuple(text.between(start, end))
    before = tuple(text.between(start - MOST_INCOMPLETE, start))
    after_blank = start == text.blank_offset
    return Attached(session_id, operation_id, start, before, tokens, operation_ids, after_blank)
