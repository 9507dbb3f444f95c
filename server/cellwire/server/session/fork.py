"""What a session reports when it was copied."""

from __future__ import annotations

from cellwire.server.session.events import Forked
from cellwire.server.session.session import Session
from cellwire.server.state.snapshot import SessionSnapshot


def forked(
    session: Session, operation_id: int | None, copy: Session, snapshot: SessionSnapshot | None
) -> Forked:
    """Return the report of a copy, with what a running append has done to its text so far."""
    task, offset = session.task, len(copy.state_history)
    appended, replaced = (task.appended, task.replaced) if task else ((), 0)
    text_end = copy.state_history.text.end
    return Forked(
        session.id,
        operation_id,
        copy.id,
        copy.seed,
        offset,
        appended,
        replaced,
        text_end,
        snapshot,
    )
