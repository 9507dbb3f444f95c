"""Between the contract's messages and the core's own values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from cellwire.server.errors import InvalidRequest
from cellwire.server.events import (
    Appended,
    Cancelled,
    Closed,
    Event,
    Finished,
    FinishReason,
    Opened,
    Rejected,
    Written,
)
from cellwire.server.operations import MAX_APPEND_CHARS, Append, Generate
from cellwire.server.registry import ServedModel
from cellwire.server.rpc.status import status_of
from cellwire.server.sampling import Sampling
from cellwire.server.vocabulary import Vocabulary
from cellwire.v1 import generation_pb2, models_pb2, operations_pb2

_REASONS = {
    FinishReason.MAX_CHARS: operations_pb2.FINISH_REASON_MAX_CHARS,
    FinishReason.CANCELLED: operations_pb2.FINISH_REASON_CANCELLED,
}


Answer = Appended | Finished | Cancelled | Rejected | Closed


def append_of(operation_id: int, message: operations_pb2.Append, vocabulary: Vocabulary) -> Append:
    """Return the append a message asks for; InvalidRequest says what is wrong with it."""
    if not message.text:
        raise InvalidRequest("the text to append is empty")
    if len(message.text) > MAX_APPEND_CHARS:
        raise InvalidRequest(
            f"the text to append has {len(message.text):,} characters, and {MAX_APPEND_CHARS:,} "
            "is the most; send it in several appends"
        )
    return Append(operation_id, vocabulary.encode(message.text))


def generate_of(operation_id: int, message: operations_pb2.Generate) -> Generate:
    """Return the generate a message asks for; InvalidRequest says what is wrong with it."""
    sampling = message.sampling
    temperature = sampling.temperature if sampling.HasField("temperature") else 1.0
    return Generate(
        operation_id,
        message.max_chars,
        Sampling(temperature, sampling.top_k),
        message.log_probabilities,
    )


def model_message(model: ServedModel) -> models_pb2.Model:
    """Return what clients are told of a model."""
    manifest = model.cell.manifest
    message = models_pb2.Model(
        name=model.name,
        sha256=model.cell.sha256,
        cell=manifest.cell.kind,
        layers=manifest.cell.layers,
        hidden=manifest.cell.hidden,
        vocabulary=models_pb2.Vocabulary(
            characters=models_pb2.Characters(symbols=manifest.vocabulary.symbols)
        ),
        state_bytes=model.cell.state_bytes,
        provider=model.provider,
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


def coalesced(events: Iterable[Event]) -> Iterator[Opened | Answer | list[Written]]:
    """Put what one operation wrote in a row together; pass everything else on as it is."""

    def writer(event: Event) -> Generate | None:
        return event.operation if isinstance(event, Written) else None

    for operation, group in groupby(events, key=writer):
        if operation is None:
            yield from (event for event in group if not isinstance(event, Written))
        else:
            yield [event for event in group if isinstance(event, Written)]


def chunk_message(written: list[Written], symbols: tuple[str, ...]) -> operations_pb2.Chunk:
    """Return one chunk of everything written in a row by one operation."""
    wanted = written[0].operation.log_probabilities
    return operations_pb2.Chunk(
        offset=written[0].offset,
        text="".join(symbols[event.token] for event in written),
        log_probabilities=[event.log_probability for event in written] if wanted else [],
    )


def finished_message(event: Finished) -> operations_pb2.Finished:
    """Return the end of an operation."""
    return operations_pb2.Finished(
        reason=_REASONS[event.reason],
        offset=event.offset,
        usage=operations_pb2.Usage(
            appended_chars=event.appended_chars, generated_chars=event.generated_chars
        ),
    )


def answer_message(
    event: Answer,
) -> generation_pb2.SessionResponse:
    """Return the answer an event stands for."""
    response = generation_pb2.SessionResponse(operation_id=event.operation_id or 0)
    match event:
        case Appended():
            response.appended.offset = event.offset
            response.appended.log_probability = event.log_probability
        case Finished():
            response.finished.CopyFrom(finished_message(event))
        case Cancelled():
            response.cancelled.SetInParent()
        case Rejected():
            response.rejected.status.CopyFrom(status_of(event.error))
        case Closed():
            response.closed.SetInParent()
    return response
