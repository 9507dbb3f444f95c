"""What a model file says about itself: the JSON under `cellwire.manifest` in its metadata."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

METADATA_KEY = "cellwire.manifest"
BYTES = 256

VocabularyKind = Literal["characters", "bytes", "words"]
UnicodeForm = Literal["", "NFC", "NFD", "NFKC", "NFKD"]
ByteOrderMark = Literal["kept", "dropped"]
LineEnds = Literal["kept", "line_feeds", "spaces"]


class VocabularyFacts(msgspec.Struct, frozen=True):
    """What texts are made of, and what is done to them first (see `cleaning.py`)."""

    kind: VocabularyKind
    symbols: tuple[str, ...] = ()  # in the order of their ids; none for bytes
    unknown: str | None = None  # the symbol that stands for all that are not among them
    lower_case: bool = False
    unicode_form: UnicodeForm = ""
    separator: str = ""  # of words: what comes before each, if there is no white space among them
    byte_order_mark: ByteOrderMark = "kept"  # at the beginning of a text
    html: bool = False  # entities become characters, <br> a space
    line_ends: LineEnds = "kept"  # CRLF, CR and LF become line feeds, or spaces
    trim: bool = False  # white space at both ends of a text is left out

    @property
    def size(self) -> int:
        """How many symbols there are."""
        return BYTES if self.kind == "bytes" else len(self.symbols)


class CellFacts(msgspec.Struct, frozen=True):
    """What the cell is, for people to read; the program takes its shapes from the graph."""

    kind: str = ""
    layers: int = 0
    hidden: int = 0
    weights: str = "float32"  # number format of tables and matrices


class TrainingFacts(msgspec.Struct, frozen=True):
    """Where the weights come from, and how well they do on held-out text.

    A measure is None if it does not apply to the model, or if nothing was held out.
    """

    corpus: str = ""
    corpus_sha256: str = ""
    steps: int = 0
    validation_bits_per_character: float | None = None  # of a generator of characters
    parity_error: float = 0.0  # largest difference from torch, before the weights are rounded
    rounding_error: float = 0.0  # largest difference from torch with rounded weights
    rounding_bits: float = 0.0  # cost of rounding: per symbol; per text, if it is a classifier
    recipe: dict[str, Any] = {}  # its tables
    validation_perplexity: float | None = None  # of a generator
    validation_accuracy: float | None = None  # of a classifier


class Manifest(msgspec.Struct, frozen=True):
    """A model's description of itself, version 1."""

    version: Literal[1]
    vocabulary: VocabularyFacts
    cell: CellFacts = CellFacts()
    training: TrainingFacts | None = None
    labels: tuple[str, ...] = ()  # of a model that classifies: what its scores are for

    def to_json(self) -> str:
        """Return the manifest as JSON, without the measures that are None."""
        tables = msgspec.to_builtins(self)
        if self.training:
            known = {k: v for k, v in tables["training"].items() if v is not None}
            tables["training"] = known
        return msgspec.json.encode(tables).decode()


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
