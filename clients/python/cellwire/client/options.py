"""The keyword arguments that several calls share, and their defaults.

Counts are in tokens. The daemon rejects a value out of range with InvalidArgument; a value that the
contract's field cannot hold is a ValueError of this client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict

from cellwire.client.durability import Durability

UnknownSymbols = Literal["reject", "skip", "replace"]
"""How to handle symbols outside the model's vocabulary: reject the text, leave them out, or replace
them by the model's unknown symbol."""

OnDisconnect = Literal["delete", "cancel", "pause", "continue"]
"""What happens to a session when its stream breaks. "delete" deletes it. The others keep it, and
cancel its operations, pause them until a stream attaches, or let them continue for 65,536
tokens."""

DurabilityName = Literal["none", "safe_later", "safe_first"]
"""The value of a Durability, in its place."""

CompletionEnd = Literal["length", "word", "line"]
"""A completion ends after max_tokens, or earlier with its first word or its first line."""


class OpenOptions(TypedDict, total=False):
    """The settings of a session."""

    model: str | None
    """The model's name; None, the default, is the daemon's default model."""
    seed: int | None
    """The same seed, model and operations give the same text; None lets the daemon draw one."""
    rewind_window: int | None
    """How many tokens it can be rewound, 0 to 1,024; None means 64. Limits stop strings too."""
    unknown_symbols: UnknownSymbols
    """How to handle symbols outside the vocabulary; "reject" by default."""
    on_disconnect: OnDisconnect | None
    """What happens to the session when its stream breaks; "delete" by default, and "pause" for a
    durable session."""
    idle_timeout_s: float | None
    """How long it is kept without a stream, 1 to 604,800 seconds; None, the default, means 600.

    A durable session: 1 to 315,360,000 seconds; None means 2,592,000 (30 days).
    """
    durability: Durability | DurabilityName
    """Whether the session outlives the daemon, which needs one with a store
    (`cellwire serve --state`); "none" by default."""
    session_id: str | None
    """The session's id: 128 random bits as 32 hexadecimal digits in lower case; None, the default,
    draws one."""


class GenerateOptions(TypedDict, total=False):
    """What to generate; a symbol must pass top_k, top_p and min_p to be drawn."""

    max_tokens: Required[int]
    """How many tokens to generate, 1 to 1,000,000."""
    temperature: float
    """Divides the logits, 0 to 100; 0 always takes the most probable symbol. 1 by default."""
    top_k: int
    """Draw among this many most probable symbols; 0, the default, means all."""
    top_p: float
    """Draw among the most probable symbols that together reach this probability: above 0, at most
    1, the default."""
    min_p: float
    """Exclude symbols below this share of the greatest probability: 0, the default, to 1."""
    repetition_penalty: float
    """Makes the symbols of the last repetition_window tokens less probable: 1, the default, to
    100."""
    repetition_window: int
    """How many tokens the penalty looks back, 1 to 1,024; 0, the default, means 64."""
    logit_bias: Mapping[str, float]
    """What to add to the logits of single symbols, -100 to 100; at most 256 symbols."""
    stop_strings: Sequence[str]
    """Stop before any of these, at most 16; the stop string is not part of the text."""
    log_probabilities: bool
    """Whether each Piece carries the log-probabilities of its tokens."""
    top_alternatives: int
    """How many of the most probable symbols each Piece carries for each of its tokens, 0 to 20."""


class CompleteOptions(TypedDict, total=False):
    """What completions to search for, by beam search."""

    beam_width: int
    """How many continuations the search follows at once, 1 to 64; 0, the default, means 5."""
    completion_count: int
    """How many completions to return, 1 to beam_width; 0, the default, means 1."""
    max_tokens: int
    """The most tokens in a completion, 1 to 1,024; 0, the default, means 32."""
    length_penalty: float
    """Ranks by log-probability / length ** length_penalty, 0 to 10; 0 by default."""
    end: CompletionEnd
    """Where a completion ends; "length" by default."""
