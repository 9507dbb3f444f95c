"""A model the daemon serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Training:
    """Where a model comes from."""

    corpus: str
    steps: int
    validation_bits_per_character: float
    parity_error: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a model's texts are made of."""

    kind: str
    """"characters", "bytes" (texts are UTF-8) or "words"; empty for one newer than this client."""
    symbols: tuple[str, ...] = ()
    """In the order of their ids; empty for bytes, which are always the same 256."""
    separator: str = ""
    """What stands between two words, if the words have no white space of their own."""
    unknown: str | None = None
    """What stands for symbols the model does not know; None if it has no such symbol."""
    lower_case: bool = False
    """Whether texts are put into lower case before the model reads them."""
    unicode_form: str = ""
    """The normalisation form that texts are put into, for example "NFC"; empty for none."""

    def __len__(self) -> int:
        return 256 if self.kind == "bytes" else len(self.symbols)


@dataclass(frozen=True, slots=True)
class Model:
    """A model the daemon serves."""

    name: str
    sha256: str
    cell: str
    layers: int
    hidden: int
    vocabulary: Vocabulary
    state_bytes: int
    provider: str
    training: Training | None = None
    """None if the model's file does not say."""
    labels: tuple[str, ...] = ()
    """What it tells texts apart by; empty for a model that only writes."""
    writes: bool = True
    """Whether it can write: generate, complete and score."""
