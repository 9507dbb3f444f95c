"""What the daemon answers: values that never change.

Offsets and counts are in symbols of the model's vocabulary, from the session's start; most models'
symbols are characters (Unicode code points). Log-probabilities are natural logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cellwire.client.model import Model


@dataclass(frozen=True, slots=True)
class Opened:
    """A session has begun."""

    session_id: str
    model: Model
    seed: int


@dataclass(frozen=True, slots=True)
class Attached:
    """A session has been taken up."""

    session_id: str
    model: Model
    seed: int
    offset: int
    missed: str
    """The text between the offset that was attached with and the session's end."""
    operation_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """A text is in the session."""

    offset: int
    """The length of the session's text now."""
    log_probability: float
    """Of the whole appended text; a session's very first symbol counts as certain."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A symbol that could have come."""

    symbol: str
    log_probability: float


@dataclass(frozen=True, slots=True)
class Piece:
    """Generated text: one character when the daemon is idle, many when it is busy."""

    offset: int
    """Where in the session the text begins."""
    text: str
    end_offset: int
    """Where in the session the text ends."""
    log_probabilities: tuple[float, ...] = ()
    """One for each symbol, before anything that sampling does; empty unless asked for."""
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    """Those likeliest at each symbol's place, the likeliest first; empty unless asked for."""


class FinishReason(Enum):
    """Why an operation ended."""

    MAX_CHARS = "max_chars"
    """It wrote the characters it was asked for."""
    STOP = "stop"
    """It came to one of its stop strings."""
    CANCELLED = "cancelled"
    """It was cancelled."""
    SUPERSEDED = "superseded"
    """The session was asked to move on."""
    OTHER = "other"
    """A reason that is newer than this client."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an operation did."""

    appended_chars: int
    generated_chars: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a generation."""

    reason: FinishReason
    offset: int
    """The length of the session's text now."""
    usage: Usage
    stop: str = ""
    """With reason STOP, the string that ended it, which is not part of the text."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One way the text could go on."""

    text: str
    log_probability: float
    """Of the whole text."""
    chars: int
    """How many symbols it has: what `accept` counts in."""
    ended: bool
    """Whether it ends where it was asked to, and not only because it reached max_chars."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The likeliest continuations that a search has found."""

    offset: int
    """Where in the session they begin."""
    completions: tuple[Completion, ...]
    """The best first; fewer than asked for if there are no more."""


@dataclass(frozen=True, slots=True)
class Completing:
    """The best that a search has found so far."""

    best: Completed


@dataclass(frozen=True, slots=True)
class Rewound:
    """A session has gone back."""

    offset: int
    """The length of the session's text now."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A session has been copied."""

    session_id: str
    """Names the new session."""
    seed: int
    offset: int
    """The length of its text."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely a text is."""

    log_probability: float
    """Of the whole text."""
    scored_chars: int
    """How many symbols were scored; a session's very first symbol is not."""
    bits_per_character: float
    perplexity: float
    log_probabilities: tuple[float, ...] = ()
    """One for each symbol, if they were asked for; else empty."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """What a model gives one label."""

    label: str
    score: float
    """As the model computes it: Cellwire's own models give probabilities."""


@dataclass(frozen=True, slots=True)
class Classified:
    """What a model makes of a text."""

    offset: int
    """The length of the text."""
    scores: tuple[LabelScore, ...]
    """One for each label, in the model's order."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A session has ended, or been let go of."""


Answer = (
    Opened
    | Attached
    | Appended
    | Finished
    | Completed
    | Rewound
    | Forked
    | Scored
    | Classified
    | Closed
)
"""The last answer to an operation that did not fail."""

News = Piece | Completing
"""What comes before the last answer."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session is and does."""

    model: Model
    offset: int
    """The length of its text."""
    tail: str
    """The end of its text: at most 1,024 characters."""
    attached: bool
    """Whether a stream is attached to it."""
    operation_ids: tuple[int, ...]
    """Operations that are running or waiting."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A session has been made from an exported one."""

    session_id: str
    model: Model
    offset: int
    """The length of its text."""
