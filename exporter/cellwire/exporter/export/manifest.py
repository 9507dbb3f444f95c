"""The manifest of a cell: what a server and its users must know, as JSON in the model's metadata.

    {"version": 1,
     "vocabulary": {"kind": "characters", "symbols": ["A", "B", ...], "lower_case": false, ...},
     "cell": {"kind": "lstm", "layers": 2, "hidden": 256, "weights": "float32"},
     "training": {"corpus": "austen.txt", "corpus_sha256": "...", "steps": 7000,
                  "validation_bits_per_character": 1.6, "parity_error": 3e-06,
                  "rounding_error": 0.0, "rounding_bits": 0.0,
                  "recipe": {"network": {...}, ...}},
     "labels": []}

Of the measures, there are those that the model has: bits per character if it writes characters,
perplexity if it writes, accuracy if it classifies; none where nothing was held out. The version
grows when a reader of an older one would misread the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from cellwire.exporter.export.graph import Weights
from cellwire.exporter.export.parity import Parity, Rounding
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import Checkpoint

METADATA_KEY = "cellwire.manifest"
VERSION = 1


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """The symbols in the order of their ids; of kind "characters", each is one code point."""

    kind: str
    symbols: tuple[str, ...]
    unknown: str | None = None  # the symbol that stands for all that are not among them
    lower_case: bool = False  # whether texts are lower-cased first
    separator: str = ""  # of words: what comes before each


@dataclass(frozen=True, slots=True)
class CellFacts:
    """The cell's kind and size."""

    kind: str
    layers: int
    hidden: int
    weights: Weights = "float32"


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """Where the weights come from, and how well they do on what was held out."""

    corpus: str
    corpus_sha256: str
    steps: int
    validation_bits_per_character: float | None
    parity_error: float  # greatest difference from torch, before rounding; see parity.py
    rounding_error: float  # likewise, of what rounding the weights left
    rounding_bits: float  # what rounding costs: a symbol; a text, if the model classifies
    recipe: dict[str, Any]  # its tables
    validation_perplexity: float | None = None
    validation_accuracy: float | None = None

    @property
    def quality(self) -> str:
        """How well the model does, for people."""
        if self.validation_accuracy is not None:
            return f"{self.validation_accuracy:.2%} of labels right"
        if self.validation_bits_per_character is not None:
            return f"{self.validation_bits_per_character:.4f} bits per character"
        if self.validation_perplexity is not None:
            return f"perplexity {self.validation_perplexity:.2f}"
        return "nothing held out to measure"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All a model file says about itself."""

    vocabulary: VocabularyFacts
    cell: CellFacts
    training: TrainingFacts
    labels: tuple[str, ...] = ()
    version: int = VERSION

    @classmethod
    def of(
        cls,
        config: RunConfig,
        checkpoint: Checkpoint,
        parity: Parity,
        weights: Weights,
        rounding: Rounding,
    ) -> Manifest:
        """Describe the cell exported from `checkpoint`."""
        vocabulary, network = config.vocabulary, config.recipe.network
        writes = checkpoint.held_out and not config.labels
        return cls(
            vocabulary=VocabularyFacts(
                kind=vocabulary.kind,
                symbols=vocabulary.symbols,
                unknown=vocabulary.unknown,
                lower_case=vocabulary.lower_case,
                separator=vocabulary.separator,
            ),
            cell=CellFacts(network.cell, network.layers, network.hidden, weights),
            training=TrainingFacts(
                corpus=config.corpus,
                corpus_sha256=config.corpus_sha256,
                steps=checkpoint.step,
                validation_bits_per_character=(
                    checkpoint.measure.bits if writes and vocabulary.kind == "characters" else None
                ),
                parity_error=parity.error,
                rounding_error=rounding.error,
                rounding_bits=rounding.loss_bits,
                recipe=config.tables,
                validation_perplexity=checkpoint.measure.perplexity if writes else None,
                validation_accuracy=checkpoint.accuracy,
            ),
            labels=config.labels,
        )

    def json(self) -> str:
        """Return the manifest as JSON, without what is not known."""
        manifest = asdict(self)
        manifest["training"] = {k: v for k, v in manifest["training"].items() if v is not None}
        return json.dumps(manifest, ensure_ascii=False)
