"""The load of an engine, and the condition of its sessions."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.model_file.vocabulary import SETTLED, TextEnd
from cellwire.server.batch.limits import TAIL_TOKENS
from cellwire.server.session.session import Session


@dataclass(frozen=True, slots=True)
class Stats:
    """The load of an engine."""

    sessions: int
    runnable_sessions: int
    reserved_slots: int
    taken_slots: int
    total_slots: int
    steps: int  # of rows, since the start
    beam_steps: int  # of searches, since the start


@dataclass(frozen=True, slots=True)
class Description:
    """A session's text and operations."""

    offset: int  # the length of its text
    tail: tuple[int, ...]  # its last tokens
    operation_ids: tuple[int, ...]  # running or waiting
    parked: bool
    text_end: TextEnd = SETTLED  # which is read again with what follows


def description_of(session: Session) -> Description:
    """Return a session's text and operations."""
    end = session.reported_length
    history = session.state_history
    tail = tuple(history.text.between(end - TAIL_TOKENS, end))
    return Description(end, tail, session.operation_ids, history.parked, history.text.end)
