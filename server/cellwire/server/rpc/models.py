"""What clients are told of a model."""

from __future__ import annotations

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.server.host.registry import ServedModel
from cellwire.v1 import models_pb2


def model_message(model: ServedModel) -> models_pb2.Model:
    """Return a model's description."""
    manifest = model.cell.manifest
    message = models_pb2.Model(
        name=model.name,
        sha256=model.cell.sha256,
        cell=manifest.cell.kind,
        layers=manifest.cell.layers,
        hidden=manifest.cell.hidden,
        vocabulary=_vocabulary(manifest.vocabulary),
        state_bytes=model.cell.state_bytes,
        provider=model.provider,
        labels=manifest.labels,
        writes=model.cell.writes,
    )
    if training := manifest.training:
        message.training.CopyFrom(
            models_pb2.Training(
                corpus=training.corpus,
                steps=training.steps,
                validation_bits_per_character=training.validation_bits_per_character,
                parity_error=training.parity_error,
            )
        )
    return message


def _vocabulary(facts: VocabularyFacts) -> models_pb2.Vocabulary:
    message = models_pb2.Vocabulary(
        unknown=facts.unknown, lower_case=facts.lower_case, unicode_form=facts.unicode_form
    )
    match facts.kind:
        case "characters":
            message.characters.symbols.extend(facts.symbols)
        case "bytes":
            message.bytes.SetInParent()
        case "words":
            message.words.symbols.extend(facts.symbols)
            message.words.separator = facts.separator
    return message
