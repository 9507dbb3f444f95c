"""What an engine reports of its sessions, in the order in which it happened.

A session's text can be rebuilt from its events alone. `Opened`, `Forked` and `Restored` begin one;
`Appended`, `Written`, `Finished` and `Rejected` carry the tokens that were added, and how many at
the end of the text they replace; `Rewound` says where it was cut; `CheckpointRestored` has another
one in its place.

`revision` counts the changes of a durable session's text; the host sets it (see ChangeLog).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from cellwire.model_file.vocabulary import SETTLED, TextEnd
from cellwire.server.batch.stepper import State
from cellwire.server.errors import CellwireError
from cellwire.server.session.operations import Generate, Operation, Restore
from cellwire.server.state.change import DoneOperation
from cellwire.server.state.snapshot import SessionSnapshot

TopTokens = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities, the likeliest first."""


class FinishReason(Enum):
    """Why an operation ended."""

    MAX_TOKENS = "max_tokens"
    CANCELLED = "cancelled"
    STOP = "stop"
    SUPERSEDED = "superseded"


class TextEndAfter(NamedTuple):
    """How the text ends after an operation that may not have done what it was to do.

    Readers that have read on, on the assumption that it did, correct their end with it.
    """

    operation: Operation
    text_end: TextEnd


@dataclass(frozen=True, slots=True)
class Opened:
    """An empty session was created."""

    session_id: str
    operation_id: int
    seed: int
    rewind_window: int  # tokens


@dataclass(frozen=True, slots=True)
class Restored:
    """A session was created from a snapshot."""

    session_id: str
    snapshot: SessionSnapshot
    operation_id: None = None  # no operation of a stream creates it


@dataclass(frozen=True, slots=True)
class Attached:
    """A reader attached: the text from `offset` on, and the operations running or waiting."""

    session_id: str
    operation_id: int  # the number of the attach
    offset: int
    before: tuple[int, ...]  # the last tokens before `offset`
    tokens: tuple[int, ...]
    operation_ids: tuple[int, ...]
    after_blank: bool = False  # whether the client has the blank that the tokens begin with
    done: tuple[DoneOperation, ...] = ()  # the last operations that have ended, if it is durable
    revision: int = 0


@dataclass(frozen=True, slots=True)
class AttachFailed:
    """A reader could not attach; the session is unchanged."""

    session_id: str
    operation_id: int  # the number of the attach
    error: CellwireError


@dataclass(frozen=True, slots=True)
class Appended:
    """All tokens of an append, or an accept, are in the text."""

    session_id: str
    operation_id: int
    offset: int  # of the end of the text
    log_probability: float  # of the tokens
    tokens: Sequence[int]
    replaced: int = 0  # tokens at the end of the text before, whose place they take
    text_end: TextEnd = SETTLED  # of the text
    revision: int = 0


class Written(NamedTuple):
    """The model generated tokens, the first of them at `offset`.

    A tuple, because there is one for every generating session in every run.
    """

    session_id: str
    operation: Generate
    offset: int
    tokens: Sequence[int]
    log_probabilities: Sequence[float]  # one for each token
    before: tuple[int, ...] = ()  # the last tokens of the text at the start of the operation
    alternatives: tuple[TopTokens, ...] = ()  # one for each token, if they were requested
    after_blank: bool = False  # whether the client has the blank that the text begins with
    revision: int = 0

    @property
    def operation_id(self) -> int:
        """The id of the operation."""
        return self.operation.id


@dataclass(frozen=True, slots=True)
class Finished:
    """A generate ended, or another operation ended early. The text it has added stays."""

    session_id: str
    operation_id: int
    reason: FinishReason
    offset: int  # of the end of the text
    appended_tokens: int = 0  # by an append that was cancelled
    generated_tokens: int = 0
    stop_string: tuple[int, ...] | None = None  # that ended it
    stop_text: str = ""  # the same, as the client has sent it
    appended: Sequence[int] = ()  # the tokens that the append has added
    replaced: int = 0  # tokens at the end of the text before, whose place they take
    after: TextEndAfter | None = field(default=None, compare=False)  # if it may change the text
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation."""

    tokens: tuple[int, ...]
    log_probability: float  # of all tokens, natural log
    ended: bool  # at its requested end, and not only at its greatest length


@dataclass(frozen=True, slots=True)
class Completed:
    """The best continuations, or with `partial` the best so far."""

    session_id: str
    operation_id: int
    offset: int
    completions: tuple[Completion, ...]  # the best first
    partial: bool = False
    after_blank: bool = False  # whether the client has the blank that they begin with


@dataclass(frozen=True, slots=True)
class Rewound:
    """The text ends at `offset` again."""

    session_id: str
    operation_id: int
    offset: int
    after: TextEndAfter | None = field(default=None, compare=False)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Forked:
    """A copy of the session was created; its text is the session's up to `offset`."""

    session_id: str
    operation_id: int | None  # None for a fork from outside the session's stream
    new_session_id: str
    seed: int
    offset: int
    appended: Sequence[int] = ()  # the end of that text, if a running append has added it so far
    replaced: int = 0  # tokens at the end of the text before, which that append replaces
    text_end: TextEnd = SETTLED  # of that text
    snapshot: SessionSnapshot | None = None  # of the copy, if it was requested


@dataclass(frozen=True, slots=True)
class StateRead:
    """A state along the text: the oldest that a rewind may need.

    All tokens that it has read are in events before, and never change again.
    """

    session_id: str
    tokens_read: int
    state: State
    operation_id: None = None  # no operation of a stream reads it


@dataclass(frozen=True, slots=True)
class Scored:
    """The likelihood of a text."""

    session_id: str
    operation_id: int
    log_probability: float
    scored_tokens: int  # without the first token of a session, which follows nothing
    log_probabilities: tuple[float, ...]  # of each token, if they were requested


@dataclass(frozen=True, slots=True)
class Classified:
    """The labels' scores for the text up to `offset`."""

    session_id: str
    operation_id: int
    offset: int
    scores: tuple[float, ...]  # of each label


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancel ended its operation, whose `Finished` came just before."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An operation failed."""

    session_id: str
    operation_id: int
    error: CellwireError
    appended: Sequence[int] = ()  # the tokens that an append has added before it failed
    replaced: int = 0  # tokens at the end of the text before, whose place they take
    after: TextEndAfter | None = field(default=None, compare=False)  # if it may change the text
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Saved:
    """The operations before a save have ended; the host holds it back until they are safe."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """The session is to be kept under a name as it is now."""

    session_id: str
    operation_id: int
    name: str
    offset: int  # of the end of the text
    after: TextEndAfter = field(compare=False)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotNeeded:
    """A restore waits for its checkpoint, which its host has; answered by SupplySnapshot."""

    session_id: str
    operation: Restore

    @property
    def operation_id(self) -> int:
        """The id of the operation."""
        return self.operation.id


@dataclass(frozen=True, slots=True)
class CheckpointRestored:
    """The session is what it was at a named checkpoint."""

    session_id: str
    operation_id: int
    name: str
    offset: int  # of the end of the text
    snapshot: SessionSnapshot | None  # None on its way to the client
    after: TextEndAfter = field(compare=False)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Discarded:
    """A named checkpoint is to be forgotten."""

    session_id: str
    operation_id: int
    name: str
    after: TextEndAfter = field(compare=False)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class SafeAdvanced:
    """More of a durable session is in the store. From the host, not from an engine."""

    session_id: str
    operation_id: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended. `error` gives the reason, unless its client closed it."""

    session_id: str
    operation_id: int | None  # of the close, or of the open that failed
    error: CellwireError | None = None


@dataclass(frozen=True, slots=True)
class Detached:
    """The reader's stream ends; the session stays."""

    session_id: str
    operation_id: int | None  # of the close with keep; None after a half-close


Answer = (
    Appended
    | Finished
    | Completed
    | Rewound
    | Forked
    | Scored
    | Classified
    | Cancelled
    | Saved
    | Checkpointed
    | CheckpointRestored
    | Discarded
    | Rejected
    | Closed
    | Detached
)
Event = (
    Opened
    | Restored
    | Attached
    | AttachFailed
    | Written
    | StateRead
    | SnapshotNeeded
    | SafeAdvanced
    | Answer
)


def is_partial(event: Event) -> bool:
    """Whether an event holds results of a complete that goes on."""
    return isinstance(event, Completed) and event.partial


def without_appended(event: Event) -> Event:
    """Return an event without what its client has sent itself, or does not read."""
    match event:
        case Appended():
            return replace(event, tokens=())
        case Finished() | Rejected() if event.appended:
            return replace(event, appended=())
        case Forked() if event.appended or event.snapshot:
            return replace(event, appended=(), snapshot=None)
        case CheckpointRestored():
            return replace(event, snapshot=None)
        case _:
            return event
