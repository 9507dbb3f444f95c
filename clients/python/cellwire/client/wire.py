"""Between the contract's messages and this client's values."""

from __future__ import annotations

from cellwire.client.errors import CellwireError, error_of
from cellwire.client.values import (
    Answer,
    Appended,
    Closed,
    Finished,
    FinishReason,
    Model,
    Opened,
    Piece,
    Training,
    Usage,
)
from cellwire.v1 import generation_pb2, models_pb2, operations_pb2

_REASONS = {
    operations_pb2.FINISH_REASON_MAX_CHARS: FinishReason.MAX_CHARS,
    operations_pb2.FINISH_REASON_CANCELLED: FinishReason.CANCELLED,
}


def open_message(model: str | None, seed: int | None) -> operations_pb2.Open:
    """Build an open."""
    return operations_pb2.Open(model=model or "", seed=seed)


def generate_message(
    max_chars: int, temperature: float, top_k: int, *, log_probabilities: bool
) -> operations_pb2.Generate:
    """Build a generate. Raises ValueError for a number that its field cannot hold."""
    return operations_pb2.Generate(
        max_chars=max_chars,
        sampling=operations_pb2.Sampling(temperature=temperature, top_k=top_k),
        log_probabilities=log_probabilities,
    )


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
        symbols=tuple(message.vocabulary.characters.symbols),
        state_bytes=message.state_bytes,
        provider=message.provider,
        training=training,
    )


def piece_of(message: operations_pb2.Chunk) -> Piece:
    """Read a chunk."""
    return Piece(message.offset, message.text, tuple(message.log_probabilities))


def finished_of(message: operations_pb2.Finished) -> Finished:
    """Read the end of an operation."""
    return Finished(
        reason=_REASONS.get(message.reason, FinishReason.OTHER),
        offset=message.offset,
        usage=Usage(message.usage.appended_chars, message.usage.generated_chars),
    )


def answer_of(
    message: generation_pb2.SessionResponse,
) -> Piece | Answer | CellwireError | None:
    """Read an answer on a session's stream; None for a kind that nobody here waits for."""
    answer: Piece | Answer | CellwireError | None = None
    match message.WhichOneof("answer"):
        case "chunk":
            answer = piece_of(message.chunk)
        case "opened":
            opened = message.opened
            answer = Opened(opened.session_id, model_of(opened.model), opened.seed)
        case "appended":
            answer = Appended(message.appended.offset, message.appended.log_probability)
        case "finished":
            answer = finished_of(message.finished)
        case "closed":
            answer = Closed()
        case "rejected":
            status = message.rejected.status
            answer = error_of(status.code, status.message)
    return answer
