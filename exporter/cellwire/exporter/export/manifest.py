"""The manifest of an exported run.

{"version": 1,
 "vocabulary": {"kind": "characters", "symbols": ["A", "B", ...], "lower_case": false, ...},
 "cell": {"kind": "lstm", "layers": 2, "hidden": 256, "weights": "float32"},
 "training": {"corpus": "austen.txt", "corpus_sha256": "...", "steps": 7000,
              "validation_bits_per_character": 1.6, "parity_error": 3e-06,
              "rounding_error": 0.0, "rounding_bits": 0.0,
              "recipe": {"network": {...}, ...}},
 "labels": []}
"""

from __future__ import annotations

from cellwire.exporter.export.graph import Weights
from cellwire.exporter.export.parity import Parity, Rounding
from cellwire.exporter.runs.checkpoint import Checkpoint
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.model_file.manifest import CellFacts, Manifest, TrainingFacts


def make_manifest(
    config: RunConfig,
    checkpoint: Checkpoint,
    parity: Parity,
    weights: Weights,
    rounding: Rounding,
) -> Manifest:
    """Describe the cell that is exported from a checkpoint."""
    network = config.recipe.network
    return Manifest(
        version=1,
        vocabulary=config.vocabulary.facts,
        cell=CellFacts(network.cell, network.layers, network.hidden, weights),
        training=_training_facts(config, checkpoint, parity, rounding),
        labels=config.labels,
    )


def _training_facts(
    config: RunConfig, checkpoint: Checkpoint, parity: Parity, rounding: Rounding
) -> TrainingFacts:
    """Return the origin of the weights, and the measures that apply to the model."""
    generates = checkpoint.held_out and not config.labels
    measure = checkpoint.measure
    return TrainingFacts(
        corpus=config.corpus,
        corpus_sha256=config.corpus_sha256,
        steps=checkpoint.step,
        validation_bits_per_character=_bits_per_character(config, measure) if generates else None,
        parity_error=parity.error,
        rounding_error=rounding.error,
        rounding_bits=rounding.loss_bits,
        recipe=config.tables,
        validation_perplexity=measure.perplexity if generates else None,
        validation_accuracy=checkpoint.accuracy,
    )


def _bits_per_character(config: RunConfig, measure: Measure) -> float | None:
    """Return the loss per character; None for words, of which unknown ones are not predicted."""
    if config.recipe.data.symbols == "characters":
        return measure.bits
    if config.characters_per_token is None:
        return None
    return measure.bits / config.characters_per_token


def describe_quality(training: TrainingFacts) -> str:
    """Return the measure of a model for people."""
    if training.validation_accuracy is not None:
        return f"accuracy {training.validation_accuracy:.2%}"
    if training.validation_bits_per_character is not None:
        return f"{training.validation_bits_per_character:.4f} bits per character"
    if training.validation_perplexity is not None:
        return f"perplexity {training.validation_perplexity:.2f}"
    return "no measure, as nothing was held out"
