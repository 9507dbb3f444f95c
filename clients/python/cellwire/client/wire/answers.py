"""From the contract's messages to this client's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cellwire.client.durability import Durability
from cellwire.client.errors import CellwireError, Internal
from cellwire.client.model import Model, Training, Vocabulary
from cellwire.client.values import (
    Alternative,
    Appended,
    Attached,
    Checkpointed,
    Classified,
    Closed,
    Completed,
    Completing,
    Completion,
    Discarded,
    Done,
    FinalAnswer,
    Finished,
    FinishReason,
    Forked,
    LabelScore,
    NamedCheckpoint,
    Opened,
    PartialAnswer,
    Piece,
    Restored,
    Rewound,
    SafePoint,
    Scored,
    SessionInfo,
    Usage,
)
from cellwire.client.wire.status import error_of_status
from cellwire.v1 import generation_pb2, models_pb2, operations_pb2, sessions_pb2

_DURABILITIES: dict[int, Durability] = {
    operations_pb2.DURABILITY_SAFE_LATER: Durability.SAFE_LATER,
    operations_pb2.DURABILITY_SAFE_FIRST: Durability.SAFE_FIRST,
}
_REASONS = {
    operations_pb2.FINISH_REASON_MAX_TOKENS: FinishReason.MAX_TOKENS,
    operations_pb2.FINISH_REASON_STOP: FinishReason.STOP,
    operations_pb2.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
    operations_pb2.FINISH_REASON_SUPERSEDED: FinishReason.SUPERSEDED,
}


def answer_of(
    message: generation_pb2.StreamSessionResponse,
) -> PartialAnswer | FinalAnswer | CellwireError | None:
    """Convert an answer of a session's stream; None for a kind that this client does not use."""
    kind = message.WhichOneof("answer")
    if kind == "rejected":
        return error_of_status(message.rejected.status)
    if kind is None or kind == "cancelled":
        return None
    if kind == "saved":
        return safe_point_of(message.safe)
    return _CONVERTERS[kind](getattr(message, kind))


def model_of(message: models_pb2.Model) -> Model:
    """Convert a model."""
    training = None
    if message.HasField("training"):
        training = Training(
            corpus=message.training.corpus,
            step_count=message.training.step_count,
            validation_bits_per_character=message.training.validation_bits_per_character,
            parity_error=message.training.parity_error,
        )
    return Model(
        name=message.name,
        sha256=message.sha256,
        cell_kind=message.cell_kind,
        layer_count=message.layer_count,
        hidden_size=message.hidden_size,
        vocabulary=vocabulary_of(message.vocabulary),
        state_bytes=message.state_bytes,
        provider=message.provider,
        training=training,
        labels=tuple(message.labels),
        generates=message.generates,
    )


def vocabulary_of(message: models_pb2.Vocabulary) -> Vocabulary:
    """Convert a vocabulary."""
    return Vocabulary(
        kind=message.WhichOneof("kind") or "",
        size=message.size,
        symbols=tuple(message.characters.symbols or message.words.symbols),
        separator=message.words.separator,
        unknown_symbol=message.unknown_symbol if message.HasField("unknown_symbol") else None,
        lower_case=message.lower_case,
        unicode_form=message.unicode_form,
        drops_byte_order_mark=message.drops_byte_order_mark,
        reads_html=message.reads_html,
        line_ends=message.line_ends,
        trims=message.trims,
        rereads=message.rereads,
    )


def safe_point_of(message: operations_pb2.SafePoint) -> SafePoint:
    """Convert a safe point."""
    return SafePoint(message.revision, message.offset)


def session_of(message: sessions_pb2.Session) -> SessionInfo:
    """Convert a session."""
    return SessionInfo(
        session_id=message.session_id,
        model=message.model,
        seed=message.seed,
        offset=message.offset,
        tail=message.tail,
        attached=message.attached,
        operation_ids=tuple(message.operation_ids),
        durability=_DURABILITIES.get(message.durability, Durability.NONE),
        revision=message.revision,
        safe=safe_point_of(message.safe) if message.HasField("safe") else None,
        checkpoints=tuple(NamedCheckpoint(one.name, one.offset) for one in message.checkpoints),
    )


def piece_of(message: operations_pb2.Chunk) -> Piece:
    """Convert a chunk."""
    return Piece(
        offset=message.offset,
        text=message.text,
        end_offset=message.end_offset,
        log_probabilities=tuple(message.log_probabilities),
        alternatives=tuple(
            tuple(Alternative(one.symbol, one.log_probability) for one in position.alternatives)
            for position in message.alternatives
        ),
    )


def finished_of(message: operations_pb2.Finished) -> Finished:
    """Convert the end of an operation."""
    return Finished(
        reason=_REASONS.get(message.reason, FinishReason.OTHER),
        offset=message.offset,
        usage=Usage(message.usage.appended_tokens, message.usage.generated_tokens),
        stop_string=message.stop_string,
    )


def completed_of(message: operations_pb2.Completed) -> Completed:
    """Convert completions."""
    completions = tuple(
        Completion(one.text, one.log_probability, one.token_count, one.ended)
        for one in message.completions
    )
    return Completed(message.offset, completions)


def scored_of(message: operations_pb2.Scored) -> Scored:
    """Convert a score."""
    return Scored(
        log_probability=message.log_probability,
        scored_tokens=message.scored_tokens,
        bits_per_token=message.bits_per_token,
        perplexity=message.perplexity,
        log_probabilities=tuple(message.log_probabilities),
    )


def classified_of(message: operations_pb2.Classified) -> Classified:
    """Convert labels' scores."""
    scores = tuple(LabelScore(one.label, one.score) for one in message.scores)
    return Classified(message.offset, scores)


def _opened_of(message: operations_pb2.Opened) -> Opened:
    return Opened(message.session_id, model_of(message.model), message.seed)


def _attached_of(message: operations_pb2.Attached) -> Attached:
    return Attached(
        session_id=message.session_id,
        model=model_of(message.model),
        seed=message.seed,
        offset=message.offset,
        missed=message.missed.text,
        operation_ids=tuple(message.operation_ids),
        done=tuple(map(_done_of, message.done)),
        durability=_DURABILITIES.get(message.durability, Durability.NONE),
    )


def _done_of(message: operations_pb2.DoneOperation) -> Done:
    kind = message.WhichOneof("answer")
    if kind is None:
        unknown = Internal("the daemon remembers an answer that this client does not know")
        return Done(message.operation_id, unknown)
    if kind == "rejected":
        return Done(message.operation_id, error_of_status(message.rejected.status))
    answer: FinalAnswer = _CONVERTERS[kind](getattr(message, kind))  # type: ignore[assignment]
    return Done(message.operation_id, answer)


_CONVERTERS: dict[str, Callable[[Any], PartialAnswer | FinalAnswer]] = {
    "opened": _opened_of,
    "attached": _attached_of,
    "appended": lambda message: Appended(
        message.offset, message.log_probability, message.replaced_tokens
    ),
    "chunk": piece_of,
    "finished": finished_of,
    "completing": lambda message: Completing(completed_of(message)),
    "completed": completed_of,
    "rewound": lambda message: Rewound(message.offset),
    "checkpointed": lambda message: Checkpointed(message.name, message.offset),
    "restored": lambda message: Restored(message.name, message.offset),
    "discarded": lambda message: Discarded(message.name),
    "forked": lambda message: Forked(message.session_id, message.seed, message.offset),
    "scored": scored_of,
    "classified": classified_of,
    "closed": lambda _: Closed(),
}
