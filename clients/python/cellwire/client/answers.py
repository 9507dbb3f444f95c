"""From the contract's messages to this client's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cellwire.client.errors import CellwireError, error_of
from cellwire.client.model import Model, Training, Vocabulary
from cellwire.client.values import (
    Alternative,
    Answer,
    Appended,
    Attached,
    Classified,
    Closed,
    Completed,
    Completing,
    Completion,
    Finished,
    FinishReason,
    Forked,
    LabelScore,
    News,
    Opened,
    Piece,
    Rewound,
    Scored,
    Usage,
)
from cellwire.v1 import generation_pb2, models_pb2, operations_pb2

_REASONS = {
    operations_pb2.FINISH_REASON_MAX_CHARS: FinishReason.MAX_CHARS,
    operations_pb2.FINISH_REASON_STOP: FinishReason.STOP,
    operations_pb2.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
    operations_pb2.FINISH_REASON_SUPERSEDED: FinishReason.SUPERSEDED,
}


def answer_of(message: generation_pb2.SessionResponse) -> News | Answer | CellwireError | None:
    """Read an answer on a session's stream; None for a kind that nobody here waits for."""
    kind = message.WhichOneof("answer")
    if kind == "rejected":
        return error_of(message.rejected.status.code, message.rejected.status.message)
    if kind is None or kind == "cancelled":
        return None
    return _READERS[kind](getattr(message, kind))


def model_of(message: models_pb2.Model) -> Model:
    """Read a model."""
    training = None
    if message.HasField("training"):
        training = Training(
            corpus=message.training.corpus,
            steps=message.training.steps,
            validation_bits_per_character=message.training.validation_bits_per_character,
            parity_error=message.training.parity_error,
        )
    return Model(
        name=message.name,
        sha256=message.sha256,
        cell=message.cell,
        layers=message.layers,
        hidden=message.hidden,
        vocabulary=vocabulary_of(message.vocabulary),
        state_bytes=message.state_bytes,
        provider=message.provider,
        training=training,
        labels=tuple(message.labels),
        writes=message.writes,
    )


def vocabulary_of(message: models_pb2.Vocabulary) -> Vocabulary:
    """Read a vocabulary."""
    return Vocabulary(
        kind=message.WhichOneof("kind") or "",
        symbols=tuple(message.characters.symbols or message.words.symbols),
        separator=message.words.separator,
        unknown=message.unknown if message.HasField("unknown") else None,
        lower_case=message.lower_case,
        unicode_form=message.unicode_form,
    )


def piece_of(message: operations_pb2.Chunk) -> Piece:
    """Read a chunk."""
    return Piece(
        offset=message.offset,
        text=message.text,
        end_offset=message.end_offset,
        log_probabilities=tuple(message.log_probabilities),
        alternatives=tuple(
            tuple(Alternative(one.symbol, one.log_probability) for one in place.alternatives)
            for place in message.alternatives
        ),
    )


def finished_of(message: operations_pb2.Finished) -> Finished:
    """Read the end of an operation."""
    return Finished(
        reason=_REASONS.get(message.reason, FinishReason.OTHER),
        offset=message.offset,
        usage=Usage(message.usage.appended_chars, message.usage.generated_chars),
        stop=message.stop,
    )


def completed_of(message: operations_pb2.Completed) -> Completed:
    """Read completions."""
    completions = tuple(
        Completion(one.text, one.log_probability, one.chars, one.ended)
        for one in message.completions
    )
    return Completed(message.offset, completions)


def forked_of(message: operations_pb2.Forked) -> Forked:
    """Read a fork."""
    return Forked(message.session_id, message.seed, message.offset)


def scored_of(message: operations_pb2.Scored) -> Scored:
    """Read a score."""
    return Scored(
        log_probability=message.log_probability,
        scored_chars=message.scored_chars,
        bits_per_character=message.bits_per_character,
        perplexity=message.perplexity,
        log_probabilities=tuple(message.log_probabilities),
    )


def classified_of(message: operations_pb2.Classified) -> Classified:
    """Read labels' scores."""
    scores = tuple(LabelScore(one.label, one.score) for one in message.scores)
    return Classified(message.offset, scores)


def _opened_of(message: operations_pb2.Opened) -> Opened:
    return Opened(message.session_id, model_of(message.model), message.seed)


def _attached_of(message: operations_pb2.Attached) -> Attached:
    model = model_of(message.model)
    return Attached(
        session_id=message.session_id,
        model=model,
        seed=message.seed,
        offset=message.offset,
        missed=message.missed.text,
        operation_ids=tuple(message.operation_ids),
    )


_READERS: dict[str, Callable[[Any], News | Answer]] = {
    "opened": _opened_of,
    "attached": _attached_of,
    "appended": lambda message: Appended(message.offset, message.log_probability),
    "chunk": piece_of,
    "finished": finished_of,
    "completing": lambda message: Completing(completed_of(message)),
    "completed": completed_of,
    "rewound": lambda message: Rewound(message.offset),
    "forked": forked_of,
    "scored": scored_of,
    "classified": classified_of,
    "closed": lambda _: Closed(),
}
