"""The load of an engine, and the condition of its sessions."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.model_file.vocabulary import SETTLED, TextEnd
from cellwire.server.batch.limits import TAIL_TOKENS
from cellwire.server.engine.runs import Runs
from cellwire.server.engine.scheduler import Scheduler
from cellwire.server.engine.session_table import SessionTable
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena


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


def stats_of(sessions: SessionTable, scheduler: Scheduler, arena: Arena, runs: Runs) -> Stats:
    """Return the load of the engine that has these."""
    return Stats(
        sessions=len(sessions),
        runnable_sessions=len(scheduler.runnable),
        reserved_slots=arena.reserved,
        taken_slots=arena.taken,
        total_slots=arena.capacity,
        steps=runs.steps,
        beam_steps=runs.beam_steps,
    )


@dataclass(frozen=True, slots=True)
class Description:
    """A session's text and operations."""

    offset: int  # the length of its text, without what a running append has added
    tail: tuple[int, ...]  # its last tokens
    operation_ids: tuple[int, ...]  # running or waiting
    parked: bool
    text_end: TextEnd = SETTLED  # which is read again with what follows
    text_start: int = 0  # the offset from which on its text is remembered


def description_of(session: Session) -> Description:
    """Return a session's text and operations."""
    told, history = session.told_text, session.state_history
    tail = told.between(told.length - TAIL_TOKENS, told.length)
    return Description(
        offset=told.length,
        tail=tail,
        operation_ids=session.operation_ids,
        parked=history.parked,
        text_end=history.text.end,
        text_start=history.text.start,
    )
