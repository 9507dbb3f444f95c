"""Sessions, and their named checkpoints, from the rows of a database: Damaged, sqlite3.Error."""

from __future__ import annotations

from dataclasses import replace

from cellwire.model_file.text_end import BEGINNING
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession
from cellwire.server.store.payload import folded
from cellwire.server.store.record import Damaged
from cellwire.server.store.sqlite_rows import Rows


def head_in(session_id: str, rows: Rows) -> StoredHead:
    """Return a session without text and state."""
    return replace(head_of(session_id, rows.header(), rows), expires_s=rows.expires_s())


def head_of(session_id: str, header: Header, rows: Rows) -> StoredHead:
    """Return the head of what some rows hold, which may be a checkpoint."""
    changes = rows.changes()
    last = changes[-1].change if changes else None
    return StoredHead(
        session_id=session_id,
        header=header,
        revision=last.revision if last else 0,
        length=last.length if last else header.text_start,
    )


def stored_in(head: StoredHead, rows: Rows, last_tokens: int) -> StoredSession:
    """Return a session, or a checkpoint, with its last tokens."""
    changes = rows.changes()
    state = rows.state()
    first = head.header.text_start
    settled = changes[0].change.offset if changes else first
    if settled != (state.tokens_read if state else first):
        raise Damaged("its state and its text do not belong together")
    start = max(first, min(settled, head.length - last_tokens))
    tokens = rows.text(start, settled)
    if not changes:
        return StoredSession(head, start, tokens, None, BEGINNING, 0, -1, ())
    tail = folded(changes)
    return StoredSession(
        head=head,
        text_start=start,
        tokens=tokens + tail.tokens,
        state=state,
        end=tail.end,
        rewind_floor=tail.rewind_floor,
        blank_offset=tail.blank_offset,
        done=tail.done,
    )
