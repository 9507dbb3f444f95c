"""The manifest of a cell: what a server and its users must know, as JSON in the model's metadata.

    {"version": 1,
     "vocabulary": {"kind": "characters", "symbols": ["A", "B", ...]},
     "cell": {"kind": "lstm", "layers": 2, "hidden": 256, "weights": "float32"},
     "training": {"corpus": "austen.txt", "corpus_sha256": "...", "steps": 7000,
                  "validation_bits_per_character": 1.6, "parity_error": 3e-06,
                  "rounding_bits_per_character": 0.0, "recipe": {"layers": 2, ...}}}

The version grows when a reader of an older one would misread the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from cellwire.exporter.run import Checkpoint, RunConfig

METADATA_KEY = "cellwire.manifest"
VERSION = 1


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """The symbols in the order of their ids; of kind "characters", each is one code point."""

    kind: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CellFacts:
    """The cell's kind and size."""

    kind: str
    layers: int
    hidden: int
    weights: str = "float32"  # or "int8"


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """Where the weights come from, and how well they do."""

    corpus: str
    corpus_sha256: str
    steps: int
    validation_bits_per_character: float
    parity_error: float  # greatest difference from torch, before rounding; see parity.py
    rounding_bits_per_character: float  # what rounding to int8 costs; see parity.py
    recipe: dict[str, int | float | str | None]  # the options of `cellwire train`


@dataclass(frozen=True, slots=True)
class Manifest:
    """All a model file says about itself."""

    vocabulary: VocabularyFacts
    cell: CellFacts
    training: TrainingFacts
    version: int = VERSION

    @classmethod
    def of(
        cls,
        config: RunConfig,
        checkpoint: Checkpoint,
        parity_error: float,
        weights: str,
        rounding: float,
    ) -> Manifest:
        """Describe the cell exported from `checkpoint`."""
        return cls(
            vocabulary=VocabularyFacts("characters", config.symbols),
            cell=CellFacts("lstm", config.layers, config.hidden, weights),
            training=TrainingFacts(
                corpus=config.corpus,
                corpus_sha256=config.corpus_sha256,
                steps=checkpoint.step,
                validation_bits_per_character=checkpoint.validation_bpc,
                parity_error=parity_error,
                rounding_bits_per_character=rounding,
                recipe=config.recipe,
            ),
        )

    def json(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)
