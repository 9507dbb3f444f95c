"""The load of an engine, and the condition of its sessions."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.model_file.vocabulary import SETTLED, TextEnd


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
