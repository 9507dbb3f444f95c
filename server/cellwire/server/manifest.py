"""What a model file says about itself: the JSON under `cellwire.manifest` in its metadata."""

from __future__ import annotations

from typing import Literal

import msgspec

METADATA_KEY = "cellwire.manifest"


class VocabularyFacts(msgspec.Struct, frozen=True):
    """The symbols, in the order of their ids."""

    kind: Literal["characters"]
    symbols: tuple[str, ...]


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


def parse_manifest(text: str) -> Manifest:
    """Return the manifest in `text`; ValueError says what is wrong and where."""
    manifest = msgspec.json.decode(text, type=Manifest)
    symbols = manifest.vocabulary.symbols
    if len(symbols) <= 1:
        raise ValueError("the vocabulary has fewer than two symbols")
    for index, symbol in enumerate(symbols):
        if len(symbol) != 1:
            raise ValueError(f"symbol {index} is {symbol!r}, not one character")
    if len(set(symbols)) != len(symbols):
        raise ValueError("the vocabulary holds a symbol twice")
    return manifest
