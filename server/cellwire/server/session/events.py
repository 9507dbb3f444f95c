"""What the engine reports of a session, in the order it happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from cellwire.server.errors import CellwireError
from cellwire.server.session.operations import Generate

TopTokens = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities, the likeliest first."""


class FinishReason(Enum):
    """Why an operation ended."""

    MAX_TOKENS = "max_tokens"
    CANCELLED = "cancelled"
    STOP = "stop"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Opened:
    """The session exists."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Attached:
    """Somebody attached: the text from `offset` on, and what is running or waiting."""

    session_id: str
    operation_id: int
    offset: int
    before: tuple[int, ...]  # the last tokens before `offset`
    tokens: tuple[int, ...]
    operation_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AttachFailed:
    """Somebody tried to attach, and could not; the session is as it was."""

    session_id: str
    operation_id: int
    error: CellwireError


@dataclass(frozen=True, slots=True)
class Appended:
    """All of an append's text is in the session."""

    session_id: str
    operation_id: int
    offset: int
    log_probability: float


class Written(NamedTuple):
    """The model wrote some tokens, the first of them at `offset`.

    A tuple, since there is one for every session in every stride.
    """

    session_id: str
    operation: Generate
    offset: int
    tokens: Sequence[int]
    log_probabilities: Sequence[float]  # one for each token
    before: tuple[int, ...] = ()  # the last tokens of the text that the operation began with
    alternatives: tuple[TopTokens, ...] = ()  # likewise, if they were asked for

    @property
    def operation_id(self) -> int:
        """The operation that wrote it."""
        return self.operation.id


@dataclass(frozen=True, slots=True)
class Finished:
    """An operation ended; what it had done by then is part of the session."""

    session_id: str
    operation_id: int
    reason: FinishReason
    offset: int
    appended_tokens: int = 0
    generated_tokens: int = 0
    stop: tuple[int, ...] | None = None  # the stop string that ended it


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation."""

    tokens: tuple[int, ...]
    log_probability: float  # of all of them, natural log
    ended: bool  # where it was asked to, and not only because it got too long


@dataclass(frozen=True, slots=True)
class Completed:
    """The best continuations, or the best so far."""

    session_id: str
    operation_id: int
    offset: int
    completions: tuple[Completion, ...]  # the best first
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Rewound:
    """The session is back at `offset`."""

    session_id: str
    operation_id: int
    offset: int


@dataclass(frozen=True, slots=True)
class Forked:
    """There is a new session."""

    session_id: str
    operation_id: int
    new_session_id: str
    seed: int
    offset: int


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a text is."""

    session_id: str
    operation_id: int
    log_probability: float
    scored_tokens: int  # less than the text's length if its first token follows nothing
    log_probabilities: tuple[float, ...]  # of each, or empty if nobody wants them


@dataclass(frozen=True, slots=True)
class Classified:
    """What the model makes of the text up to `offset`."""

    session_id: str
    operation_id: int
    offset: int
    scores: tuple[float, ...]  # of each label


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancel found its operation, which has finished just before."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An operation failed; the session is as it was, unless `Closed` follows."""

    session_id: str
    operation_id: int
    error: CellwireError


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is gone; nothing follows. `error` says why, if nobody asked for it."""

    session_id: str
    operation_id: int | None  # of the close or open that led to it, if there was one
    error: CellwireError | None = None


@dataclass(frozen=True, slots=True)
class Detached:
    """A close that keeps the session was reached: the stream ends, the session lives."""

    session_id: str
    operation_id: int | None  # None if the client ended its stream without a close


Answer = (
    Appended
    | Finished
    | Completed
    | Rewound
    | Forked
    | Scored
    | Classified
    | Cancelled
    | Rejected
    | Closed
    | Detached
)
Event = Opened | Attached | AttachFailed | Written | Answer
