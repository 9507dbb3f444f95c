"""What can be asked for: the keyword arguments that several calls share, and their defaults.

Counts are in symbols of the model's vocabulary. A value out of its range is refused by the daemon
with InvalidArgument; one that cannot even be sent is a ValueError here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict

UnknownSymbols = Literal["reject", "skip", "replace"]
"""Refuse a text that has symbols the model does not know, leave them out, or put its own symbol for
unknown ones in their place."""

OnDisconnect = Literal["delete", "stop", "pause", "continue"]
"""When a session's connection breaks: delete it; keep it and cancel what runs; hold what runs until
somebody attaches; let it run on, as far as the daemon remembers text to catch up with."""

CompletionEnd = Literal["chars", "word", "line"]
"""A completion ends after max_chars, with its first word, or with its first line."""


class OpenOptions(TypedDict, total=False):
    """How a session begins."""

    model: str | None
    """Its name; None, the default, takes the daemon's default."""
    seed: int | None
    """The same seed, model and operations give the same text; None lets the daemon choose."""
    rewind_window: int | None
    """How far back it can be rewound, 0 to 1,024; None means 64. Stop strings fit into it, too."""
    unknown_symbols: UnknownSymbols
    """What to do with symbols the model does not know; "reject" unless told."""
    on_disconnect: OnDisconnect
    """What becomes of it when its connection breaks; "delete" unless told."""
    idle_timeout_s: int
    """How long it lives with nobody attached, 1 to 604,800 seconds; 0, the default, means 600."""


class GenerateOptions(TypedDict, total=False):
    """How much to write, and how; a symbol must pass top_k, top_p and min_p to be drawn."""

    max_chars: Required[int]
    """How many characters to write, 1 to 1,000,000."""
    temperature: float
    """Divides the logits, 0 to 100; 0 always takes the likeliest symbol. 1 unless told."""
    top_k: int
    """Draw among so many likeliest symbols; 0, the default, means all."""
    top_p: float
    """Draw among the likeliest that together have this probability: above 0, to 1, the default."""
    min_p: float
    """Leave out those below this share of the likeliest one's probability, 0, the default, to 1."""
    repetition_penalty: float
    """Makes symbols of the last repetition_window unlikelier; 1, the default, changes nothing."""
    repetition_window: int
    """How far back the penalty looks, 1 to 1,024; 0, the default, means 64."""
    logit_bias: Mapping[str, float]
    """What to add to the logits of single symbols, -100 to 100; at most 256 of them."""
    stop: Sequence[str]
    """Stop before any of these, at most 16; the string itself is not part of the text."""
    log_probabilities: bool
    """Whether each Piece carries the log-probabilities of its symbols."""
    top_alternatives: int
    """How many of the likeliest symbols each Piece carries for each of its own, 0 to 20."""


class CompleteOptions(TypedDict, total=False):
    """What continuations to search for, by beam search."""

    beam_width: int
    """How many the search follows at once, 1 to 64; 0, the default, means 5."""
    completions: int
    """How many to return, 1 to beam_width; 0, the default, means 1."""
    max_chars: int
    """How long one may get, 1 to 1,024; 0, the default, means 32."""
    length_penalty: float
    """Ranks by log-probability / length ** length_penalty, 0 to 10; 0 unless told."""
    end: CompletionEnd
    """Where one ends; "chars" unless told."""
