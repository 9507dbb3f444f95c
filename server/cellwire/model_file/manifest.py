"""What a model file says about itself: the JSON under `cellwire.manifest` in its metadata."""

from __future__ import annotations

from typing import Literal

import msgspec

METADATA_KEY = "cellwire.manifest"
BYTES = 256

UnicodeForm = Literal["", "NFC", "NFD", "NFKC", "NFKD"]


class VocabularyFacts(msgspec.Struct, frozen=True):
    """What texts are made of, and what is done to them first."""

    kind: Literal["characters", "bytes", "words"]
    symbols: tuple[str, ...] = ()  # in the order of their ids; none for bytes
    unknown: str | None = None  # the symbol that stands for all that are not among them
    lower_case: bool = False
    unicode_form: UnicodeForm = ""
    separator: str = ""  # of words: what comes before each, if there is no white space among them

    @property
    def size(self) -> int:
        """How many symbols there are."""
        return BYTES if self.kind == "bytes" else len(self.symbols)


class CellFacts(msgspec.Struct, frozen=True):
    """What the cell is, for people to read; the program takes its shapes from the graph."""

    kind: str = ""
    layers: int = 0
    hidden: int = 0


class TrainingFacts(msgspec.Struct, frozen=True):
    """Where the weights come from."""

    corpus: str = ""
    steps: int = 0
    validation_bits_per_character: float = 0.0
    parity_error: float = 0.0


class Manifest(msgspec.Struct, frozen=True):
    """A model's description of itself, version 1."""

    version: Literal[1]
    vocabulary: VocabularyFacts
    cell: CellFacts = CellFacts()
    training: TrainingFacts | None = None
    labels: tuple[str, ...] = ()  # of a model that classifies: what its scores are for


def parse_manifest(text: str) -> Manifest:
    """Return the manifest in `text`; ValueError says what is wrong and where."""
    manifest = msgspec.json.decode(text, type=Manifest)
    _check(manifest.vocabulary)
    if len(set(manifest.labels)) != len(manifest.labels):
        raise ValueError("the labels hold one twice")
    return manifest


def _check(vocabulary: VocabularyFacts) -> None:
    symbols = vocabulary.symbols
    if vocabulary.kind == "bytes":
        if symbols or vocabulary.unknown is not None:
            raise ValueError("a vocabulary of bytes has no symbols of its own")
        return
    if len(symbols) <= 1:
        raise ValueError("the vocabulary has fewer than two symbols")
    if "" in symbols:
        raise ValueError(f"symbol {symbols.index('')} is empty")
    if len(set(symbols)) != len(symbols):
        raise ValueError("the vocabulary holds a symbol twice")
    if vocabulary.unknown is not None and vocabulary.unknown not in symbols:
        raise ValueError(f"the symbol for unknown ones, {vocabulary.unknown!r}, is not among them")
