"""The daemon's answers, as immutable values.

Offsets and counts are in tokens; an offset is a number of tokens from the start of the session's
text. Log-probabilities are natural logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cellwire.client.durability import Durability
from cellwire.client.errors import CellwireError
from cellwire.client.model import Model


@dataclass(frozen=True, slots=True)
class Opened:
    """A session was created."""

    session_id: str
    model: Model
    seed: int


@dataclass(frozen=True, slots=True)
class Attached:
    """A stream was attached to an existing session."""

    session_id: str
    model: Model
    seed: int
    offset: int
    """The length of the session's text."""
    missed: str
    """The text after the offset that was attached with."""
    operation_ids: tuple[int, ...]
    """The operations that are running or waiting."""
    done: tuple[Done, ...] = ()
    """Of a durable session, its last operations that changed or failed to change its text."""
    durability: Durability = Durability.NONE


@dataclass(frozen=True, slots=True)
class SafePoint:
    """How much of a durable session outlives its daemon."""

    revision: int
    """The number of changes of the session's text that are safe."""
    offset: int
    """The length of the session's text at that revision."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A text was added to a session."""

    offset: int
    """The length of the session's text."""
    log_probability: float
    """Of the tokens that were added; the first token of a session counts as certain."""
    replaced_tokens: int = 0
    """How many tokens at the end of the text before were read again together with the added text,
    and replaced: a word went on, or a letter got its accent."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A possible symbol at one position."""

    symbol: str
    """As it joins to the text; a byte that is no character is named, as in "<0xC3>"."""
    log_probability: float


@dataclass(frozen=True, slots=True)
class Piece:
    """Generated text: what the daemon has collected in 20 ms, or more if the reader is slow."""

    offset: int
    """Where the text begins in the session."""
    text: str
    end_offset: int
    """Where the text ends in the session."""
    log_probabilities: tuple[float, ...] = ()
    """One for each token, before sampling; empty unless requested, and of what was generated while
    the connection was lost. NaN where it is not known: of bytes that another operation has added,
    and that became a character only now."""
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    """For each token the most probable symbols at its position, the most probable first; empty
    unless requested, and where they are not known."""


class FinishReason(Enum):
    """Why an operation ended."""

    MAX_TOKENS = "max_tokens"
    """It generated max_tokens."""
    STOP = "stop"
    """It generated one of its stop strings."""
    CANCELLED = "cancelled"
    """It was cancelled."""
    SUPERSEDED = "superseded"
    """A later operation changes the session's text."""
    OTHER = "other"
    """A reason that this client does not know."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of an operation."""

    appended_tokens: int
    generated_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a generation."""

    reason: FinishReason
    offset: int
    """The length of the session's text."""
    usage: Usage
    stop_string: str = ""
    """With reason STOP, the string that ended the generation, as it was requested; it is not part
    of the text."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation of a session's text."""

    text: str
    log_probability: float
    """Of the whole text."""
    token_count: int
    """How many tokens it has."""
    ended: bool
    """Whether it ends as the option `end` says; False if max_tokens ended it before, or if the
    model has no symbol that ends lines."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The most probable continuations that a search has found."""

    offset: int
    """Where the completions begin in the session."""
    completions: tuple[Completion, ...]
    """The best first; fewer than requested if there are no more."""


@dataclass(frozen=True, slots=True)
class Completing:
    """The best completions so far."""

    best: Completed


@dataclass(frozen=True, slots=True)
class Rewound:
    """A session was taken back to an earlier offset."""

    offset: int
    """The length of the session's text."""


@dataclass(frozen=True, slots=True)
class NamedCheckpoint:
    """A place of a durable session that it can be taken back to."""

    name: str
    offset: int
    """The length of the session's text there."""


@dataclass(frozen=True, slots=True)
class Checkpointed(NamedCheckpoint):
    """A durable session is kept under a name as it was."""


@dataclass(frozen=True, slots=True)
class Restored(NamedCheckpoint):
    """A durable session is what it was at a checkpoint."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """A checkpoint was forgotten."""

    name: str


@dataclass(frozen=True, slots=True)
class Forked:
    """A session was copied."""

    session_id: str
    """The id of the copy."""
    seed: int
    offset: int
    """The length of its text."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How probable a text is."""

    log_probability: float
    """Of the whole text."""
    scored_tokens: int
    """How many tokens were scored; the first token of a session is not."""
    bits_per_token: float
    perplexity: float
    log_probabilities: tuple[float, ...] = ()
    """One for each token; empty unless requested."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The score of one label."""

    label: str
    score: float
    """As the model computes it; models of the exporter give probabilities."""


@dataclass(frozen=True, slots=True)
class Classified:
    """The scores of a model's labels for a text."""

    offset: int
    """The length of the text."""
    scores: tuple[LabelScore, ...]
    """One for each label, in the model's order."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A stream has ended; its session was deleted or kept."""


PartialAnswer = Piece | Completing
"""An answer before the final one."""

FinalAnswer = (
    Opened
    | Attached
    | Appended
    | Finished
    | Completed
    | Rewound
    | Checkpointed
    | Restored
    | Discarded
    | Forked
    | Scored
    | Classified
    | Closed
    | SafePoint
)
"""The final answer to an operation that did not fail."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that has ended, with its final answer."""

    operation_id: int
    answer: FinalAnswer | CellwireError


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session, as seen from outside its stream."""

    session_id: str
    model: str
    """The model's name."""
    seed: int
    offset: int
    """The length of its text."""
    tail: str
    """The end of its text: at most 1,024 tokens."""
    attached: bool
    """Whether a stream is attached to it."""
    operation_ids: tuple[int, ...]
    """The operations that are running or waiting."""
    durability: Durability = Durability.NONE
    revision: int = 0
    """Of a durable session, the number of changes of its text."""
    safe: SafePoint | None = None
    """Of a durable session, how much of it outlives the daemon; None if nothing yet."""
    checkpoints: tuple[NamedCheckpoint, ...] = ()
    """Of a durable session, the places to return to, in the order of their names."""
