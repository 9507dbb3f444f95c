"""A session as a store returns it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from cellwire.model_file.text_end import TextEnd
from cellwire.server.state.change import DoneOperation, StateRecord
from cellwire.server.state.named_checkpoint import NamedCheckpoint


@dataclass(frozen=True, slots=True)
class Header:
    """What never changes in a session."""

    model_sha256: str
    seed: int
    rewind_window: int  # tokens
    settings: Mapping[str, str | float] = field(default_factory=dict)  # of the host, by name
    created_s: float = 0.0  # wall clock, seconds since 1970
    text_start: int = 0  # offset of the first token ever stored; an import may begin later


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A session without its text and its state."""

    session_id: str
    header: Header
    revision: int  # of its last change; 0 before the first
    length: int  # of the whole text, in tokens
    expires_s: float | None = None  # wall clock, seconds since 1970; None if it does not expire


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session with the end of its text: all that is needed to continue it."""

    head: StoredHead
    text_start: int  # the offset of the first of `tokens`
    tokens: array[int]  # the end of the text, from where `state` has read to, or earlier; "I"
    state: StateRecord | None  # None if it is to be read from the first token on
    end: TextEnd  # of the text, which is read again with what follows
    rewind_floor: int  # the earliest offset it can be rewound to
    blank_offset: int  # where generated text begins with a blank that the client has; -1: nowhere
    done: tuple[DoneOperation, ...]  # the operations done last, in order
    checkpoints: tuple[NamedCheckpoint, ...] = ()  # in the order of their names
