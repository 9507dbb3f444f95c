"""What the daemon tells: values that never change.

Offsets and counts are in characters (Unicode code points) from the session's start.
Log-probabilities are natural logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Training:
    """Where a model comes from."""

    corpus: str
    steps: int
    validation_bits_per_character: float
    parity_error: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model the daemon serves."""

    name: str
    sha256: str
    cell: str
    layers: int
    hidden: int
    symbols: tuple[str, ...]
    state_bytes: int
    provider: str
    training: Training | None = None
    """None if the model's file does not say."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session has begun."""

    session_id: str
    model: Model
    seed: int


@dataclass(frozen=True, slots=True)
class Appended:
    """A text is in the session."""

    offset: int
    """The length of the session's text now."""
    log_probability: float
    """Of the whole appended text; a session's very first character counts as certain."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Generated text: one character when the daemon is idle, many when it is busy."""

    offset: int
    """Where in the session the text begins."""
    text: str
    log_probabilities: tuple[float, ...] = ()
    """One for each character if they were asked for, before temperature and top_k; else empty."""


class FinishReason(Enum):
    """Why a generation ended."""

    MAX_CHARS = "max_chars"
    """It wrote the characters it was asked for."""
    CANCELLED = "cancelled"
    """It was cancelled."""
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


@dataclass(frozen=True, slots=True)
class Closed:
    """A session has ended."""


Answer = Opened | Appended | Finished | Closed
"""The last answer to an operation that did not fail."""
