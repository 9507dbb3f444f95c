"""The contract's description of a model."""

from __future__ import annotations

from cellwire.model_file.vocabulary import Vocabulary as Symbols
from cellwire.server.host.registry import ServedModel
from cellwire.v1.models_pb2 import Model, Training, Vocabulary


def model_message(model: ServedModel, *, full: bool = False) -> Model:
    """Return a model's description; the symbols of its vocabulary are in the full one only."""
    manifest = model.cell.manifest
    message = Model(
        name=model.name,
        sha256=model.cell.sha256,
        cell_kind=manifest.cell.kind,
        layer_count=manifest.cell.layers,
        hidden_size=manifest.cell.hidden,
        vocabulary=_vocabulary_message(model.vocabulary, full=full),
        state_bytes=model.cell.state_bytes,
        provider=model.provider,
        labels=manifest.labels,
        generates=model.cell.generates,
    )
    if training := manifest.training:
        message.training.CopyFrom(
            Training(
                corpus=training.corpus,
                step_count=training.steps,
                validation_bits_per_character=training.validation_bits_per_character or 0.0,
                parity_error=training.parity_error,
            )
        )
    return message


def _vocabulary_message(vocabulary: Symbols, *, full: bool) -> Vocabulary:
    facts = vocabulary.facts
    message = Vocabulary(
        size=facts.size,
        unknown_symbol=facts.unknown,
        lower_case=facts.lower_case,
        unicode_form=facts.unicode_form,
        drops_byte_order_mark=facts.byte_order_mark == "dropped",
        reads_html=facts.html,
        line_ends="" if facts.line_ends == "kept" else facts.line_ends,
        trims=facts.trim,
        rereads=vocabulary.rereads,
    )
    symbols = facts.symbols if full else ()
    match facts.kind:
        case "characters":
            message.characters.SetInParent()
            message.characters.symbols.extend(symbols)
        case "bytes":
            message.bytes.SetInParent()
        case "words":
            message.words.symbols.extend(symbols)
            message.words.separator = facts.separator
            message.words.SetInParent()
    return message
