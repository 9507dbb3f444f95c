"""What a session can be asked to do.

Operations compare by identity: two that ask for the same are still two.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

from cellwire.model_file.vocabulary import Tokens
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import InvalidArgument

MAX_APPEND_TOKENS = 1_000_000
MAX_GENERATE_TOKENS = 1_000_000
MAX_ALTERNATIVES = 20
MAX_STOPS = 16
MAX_BEAM_WIDTH = 64
MAX_COMPLETE_TOKENS = 1_024
MAX_LENGTH_PENALTY = 10.0


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # true for NaN, too
        raise InvalidArgument(f"{name} is {value}; it must be from {least:g} to {most:,}")


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """Add tokens to the session."""

    id: int
    tokens: Tokens  # [n], n >= 1


@dataclass(frozen=True, slots=True, eq=False)
class Generate:
    """Let the model go on."""

    id: int
    max_tokens: int
    sampling: Sampling
    log_probabilities: bool = False  # whether the caller wants to see them
    alternatives: int = 0  # how many of the likeliest tokens the caller wants to see
    stop: tuple[tuple[int, ...], ...] = ()  # token sequences to stop before

    def __post_init__(self) -> None:
        _check("max_tokens", self.max_tokens, 1, MAX_GENERATE_TOKENS)
        _check("top_alternatives", self.alternatives, 0, MAX_ALTERNATIVES)
        check_stops(self.stop)


def check_stops(stops: Sequence[Sized]) -> None:
    """Raise InvalidRequest if these, as tokens or still as texts, are no stop strings."""
    if len(stops) > MAX_STOPS or not all(stops):
        raise InvalidArgument(f"stop takes at most {MAX_STOPS} strings, none of them empty")


@dataclass(frozen=True, slots=True, eq=False)
class Complete:
    """Search for the likeliest continuations; the session does not move."""

    id: int
    beam_width: int
    completions: int
    max_tokens: int
    length_penalty: float = 0.0
    end: CompletionEnd = MAX_LENGTH_ONLY
    partial_results: bool = False

    def __post_init__(self) -> None:
        _check("beam_width", self.beam_width, 1, MAX_BEAM_WIDTH)
        _check("completions", self.completions, 1, self.beam_width)
        _check("max_tokens", self.max_tokens, 1, MAX_COMPLETE_TOKENS)
        _check("length_penalty", self.length_penalty, 0, MAX_LENGTH_PENALTY)


@dataclass(frozen=True, slots=True, eq=False)
class Accept:
    """Add the beginning of a completion, as an append would."""

    id: int
    index: int
    chars: int  # 0 takes all


@dataclass(frozen=True, slots=True, eq=False)
class Rewind:
    """Go back, by so many tokens or to an offset; one of the two is None."""

    id: int
    chars: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Make a session that begins as a copy of this one."""

    id: int
    session_id: str  # of the new one
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Say how likely some tokens are; the session does not move."""

    id: int
    tokens: Tokens  # [n], n >= 1
    log_probabilities: bool = False  # whether the caller wants to see each


@dataclass(frozen=True, slots=True, eq=False)
class Classify:
    """Give the labels' scores for the text so far; the session does not move."""

    id: int


@dataclass(frozen=True, slots=True, eq=False)
class Close:
    """End the session when all before this is done."""

    id: int | None  # None if it stands for the end of the client's stream
    keep: bool = False  # only the stream ends, not the session


Operation = Append | Generate | Complete | Accept | Rewind | Fork | Score | Classify | Close

# After one of these, what a complete before it would find is of no use any more.
TEXT_CHANGING = Append | Generate | Accept | Rewind
