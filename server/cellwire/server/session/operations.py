"""The operations of a session.

Operations compare by identity: two equal requests are two operations.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from itertools import takewhile

from cellwire.model_file.vocabulary import SETTLED, TextEnd, Tokens
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.limits import (
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_CHECKPOINT_NAME_CHARS,
    MAX_COMPLETE_TOKENS,
    MAX_GENERATE_TOKENS,
    MAX_LENGTH_PENALTY,
    MAX_STOP_STRINGS,
)
from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import InvalidArgument


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # false for NaN, too
        raise InvalidArgument(
            f"{name} is {value}; it must be from {least:g} to {most:,}", field=name
        )


def common_prefix(reread: Sequence[int], tokens: Tokens) -> int:
    """Return how many tokens at the beginning are the same."""
    pairs = zip(reread, tokens.tolist() if reread else (), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Append:
    """Add tokens to the text. They take the place of its last `reread` tokens, read again."""

    id: int
    tokens: Tokens  # [n]
    reread: tuple[int, ...] = ()
    text_end: TextEnd = SETTLED  # after the append

    @property
    def kept(self) -> int:
        """How many of `reread` stay as they are."""
        return common_prefix(self.reread, self.tokens)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Generate:
    """Sample tokens from the model, and add them to the text."""

    id: int
    max_tokens: int
    sampling: Sampling
    log_probabilities: bool = False  # whether to report them
    alternatives: int = 0  # how many of the likeliest tokens to report at each position
    stop_strings: tuple[tuple[int, ...], ...] = ()  # as tokens; one string may be several of them
    stop_texts: tuple[str, ...] = ()  # each of them as the client has sent it
    after_blank: bool = False  # whether the client's text ends with a blank that has no token yet
    # Where an interrupted generate began, which this one continues; None: at the end of the text.
    start_offset: int | None = None

    def __post_init__(self) -> None:
        _check_range("max_tokens", self.max_tokens, 1, MAX_GENERATE_TOKENS)
        _check_range("top_alternatives", self.alternatives, 0, MAX_ALTERNATIVES)
        assert all(self.stop_strings)


def check_stop_strings(stop_strings: Sequence[Sized]) -> None:
    """Raise InvalidArgument for too many stop strings, or an empty one."""
    if len(stop_strings) > MAX_STOP_STRINGS:
        raise InvalidArgument(
            f"stop_strings has {len(stop_strings)} strings; {MAX_STOP_STRINGS} are the most",
            field="stop_strings",
        )
    if not all(stop_strings):
        raise InvalidArgument(
            "stop_strings has an empty string; leave it out", field="stop_strings"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Complete:
    """Search for the likeliest continuations; the text stays as it is."""

    id: int
    beam_width: int
    completion_count: int
    max_tokens: int
    length_penalty: float = 0.0
    end: CompletionEnd = MAX_LENGTH_ONLY
    partial_results: bool = False
    after_blank: bool = False  # as in Generate

    def __post_init__(self) -> None:
        _check_range("beam_width", self.beam_width, 1, MAX_BEAM_WIDTH)
        _check_range("completion_count", self.completion_count, 1, self.beam_width)
        _check_range("max_tokens", self.max_tokens, 1, MAX_COMPLETE_TOKENS)
        _check_range("length_penalty", self.length_penalty, 0, MAX_LENGTH_PENALTY)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Accept:
    """Append the first tokens of a completion."""

    id: int
    index: int
    tokens: int  # their number; 0 takes all


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Rewind:
    """Cut the text: by a number of tokens, or to an offset. One of the two is None."""

    id: int
    tokens: int | None = None
    offset: int | None = None

    def target(self, length: int) -> int:
        """Return the offset at which a text of `length` tokens is cut."""
        return length - (self.tokens or 0) if self.offset is None else self.offset


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Create a copy of the session."""

    id: int
    session_id: str  # of the copy
    seed: int
    snapshot: bool = False  # whether to report the copy's snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Report the likelihood of tokens as the continuation; the text stays as it is.

    As for an append, they take the place of the text's last `reread` tokens.
    """

    id: int
    tokens: Tokens  # [n]
    log_probabilities: bool = False  # whether to report that of each token
    reread: tuple[int, ...] = ()

    @property
    def kept(self) -> int:
        """How many of `reread` stay as they are; they are not scored."""
        return common_prefix(self.reread, self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Classify:
    """Report the labels' scores for the text."""

    id: int


@dataclass(frozen=True, slots=True, eq=False)
class Save:
    """Report that the operations before it have ended."""

    id: int


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Keep the session as it is now under a name, in place of what has the name already."""

    id: int
    name: str

    def __post_init__(self) -> None:
        _check_range("the length of name", len(self.name), 1, MAX_CHECKPOINT_NAME_CHARS)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Restore:
    """Make the session what it was at a named checkpoint."""

    id: int
    name: str
    text_end: TextEnd = SETTLED  # after it, as its host assumes


@dataclass(frozen=True, slots=True, eq=False)
class Discard:
    """Forget a named checkpoint."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Close:
    """End the session after the operations before it."""

    id: int | None  # None for the end of the client's stream
    keep: bool = False  # only the stream ends, not the session


@dataclass(frozen=True, slots=True, eq=False)
class ReadState:
    """Report the oldest state, between two operations; the host's, not a client's."""

    id: None = None


Operation = (
    Append
    | Generate
    | Complete
    | Accept
    | Rewind
    | Fork
    | Score
    | Classify
    | ReadState
    | Save
    | Checkpoint
    | Restore
    | Discard
    | Close
)

# These supersede the completes before them, whose text is about to change.
TEXT_CHANGING = Append | Generate | Accept | Rewind | Restore

# A parked session need not be unparked for these.
WITHOUT_SLOTS = Save | Checkpoint | Restore | Discard | Close

# A durable session remembers these: carried out twice, they do something else than once.
REMEMBERED = TEXT_CHANGING | Checkpoint | Discard
