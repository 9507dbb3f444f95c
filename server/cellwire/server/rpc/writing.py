"""The contract's messages, from a session's events."""

from __future__ import annotations

import math

from cellwire.server.engine.stats import Description
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.durable_writing import (
    DURABILITIES,
    REASONS,
    checkpoint_messages,
    done_message,
    safe_message,
)
from cellwire.server.rpc.models import model_message
from cellwire.server.rpc.status import status_of
from cellwire.server.session.events import (
    Answer,
    Appended,
    Attached,
    Cancelled,
    Checkpointed,
    CheckpointRestored,
    Classified,
    Closed,
    Completed,
    Completion,
    Detached,
    Discarded,
    Finished,
    Forked,
    Rejected,
    Rewound,
    Saved,
    Scored,
)
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2 import Session

_MAX_NATS = 709.0  # e to the power of more is no double


def answer_message(event: Answer, model: ServedModel) -> StreamSessionResponse:
    """Return the final answer to an operation, or the partial results of a complete."""
    response = StreamSessionResponse(operation_id=event.operation_id or 0)
    match event:
        case Appended():
            response.appended.offset = event.offset
            response.appended.log_probability = event.log_probability
            response.appended.replaced_tokens = event.replaced
        case Finished():
            response.finished.CopyFrom(finished_message(event))
        case Completed(partial=True):
            response.completing.CopyFrom(completed_message(event, model))
        case Completed():
            response.completed.CopyFrom(completed_message(event, model))
        case Classified():
            response.classified.CopyFrom(classified_message(event, model))
        case Scored():
            response.scored.CopyFrom(scored_message(event))
        case _:
            _write_short_answer(response, event)
    return response


def _write_short_answer(
    response: StreamSessionResponse,
    event: Rewound
    | Forked
    | Rejected
    | Cancelled
    | Saved
    | Checkpointed
    | CheckpointRestored
    | Discarded
    | Closed
    | Detached,
) -> None:
    match event:
        case Checkpointed():
            response.checkpointed.name, response.checkpointed.offset = event.name, event.offset
        case CheckpointRestored():
            response.restored.name, response.restored.offset = event.name, event.offset
        case Discarded():
            response.discarded.name = event.name
        case Rewound():
            response.rewound.offset = event.offset
        case Forked():
            response.forked.session_id = event.new_session_id
            response.forked.seed = event.seed
            response.forked.offset = event.offset
        case Rejected():
            response.rejected.status.CopyFrom(status_of(event.error))
        case Cancelled():
            response.cancelled.SetInParent()
        case Saved():
            response.saved.SetInParent()
        case Closed() | Detached():
            response.closed.SetInParent()


def opened_message(session: SessionHandle) -> operations_pb2.Opened:
    """Return a session that was opened."""
    return operations_pb2.Opened(
        session_id=session.id, model=model_message(session.model), seed=session.seed
    )


def attached_message(
    session: SessionHandle, event: Attached, missed: operations_pb2.Chunk | None
) -> operations_pb2.Attached:
    """Return a session that a client has attached to, with the text it has missed."""
    return operations_pb2.Attached(
        session_id=session.id,
        model=model_message(session.model),
        seed=session.seed,
        offset=event.offset + len(event.tokens),
        operation_ids=event.operation_ids,
        missed=missed,
        done=map(done_message, event.done),
        durability=DURABILITIES[session.settings.durability],
    )


def session_message(session: SessionHandle, description: Description) -> Session:
    """Return a session's position and activity."""
    tail, _ = session.model.vocabulary.text(description.tail)
    return Session(
        session_id=session.id,
        model=session.model.name,
        seed=session.seed,
        offset=description.offset,
        tail=tail,
        attached=session.attachment is not None,
        operation_ids=description.operation_ids,
        durability=DURABILITIES[session.settings.durability],
        revision=session.revision,
        safe=safe_message(session),
        checkpoints=checkpoint_messages(session),
    )


def finished_message(event: Finished) -> operations_pb2.Finished:
    """Return the end of an operation."""
    return operations_pb2.Finished(
        reason=REASONS[event.reason],
        offset=event.offset,
        usage=operations_pb2.Usage(
            appended_tokens=event.appended_tokens, generated_tokens=event.generated_tokens
        ),
        stop_string=event.stop_text,
    )


def completed_message(event: Completed, model: ServedModel) -> operations_pb2.Completed:
    """Return the completions that were found."""
    return operations_pb2.Completed(
        offset=event.offset,
        completions=[
            operations_pb2.Completion(
                text=_completion_text(completion, event, model),
                log_probability=completion.log_probability,
                token_count=len(completion.tokens),
                ended=completion.ended,
            )
            for completion in event.completions
        ],
    )


def _completion_text(completion: Completion, event: Completed, model: ServedModel) -> str:
    text, _ = model.vocabulary.text(completion.tokens)
    return text.removeprefix(" ") if event.after_blank else text


def classified_message(event: Classified, model: ServedModel) -> operations_pb2.Classified:
    """Return the labels' scores."""
    return operations_pb2.Classified(
        offset=event.offset,
        scores=[
            operations_pb2.LabelScore(label=label, score=score)
            for label, score in zip(model.cell.labels, event.scores, strict=True)
        ],
    )


def scored_message(event: Scored) -> operations_pb2.Scored:
    """Return the probability of a text."""
    nats = -event.log_probability / event.scored_tokens if event.scored_tokens else 0.0
    return operations_pb2.Scored(
        log_probability=event.log_probability,
        scored_tokens=event.scored_tokens,
        bits_per_token=nats / math.log(2),
        perplexity=math.exp(nats) if nats < _MAX_NATS else math.inf,
        log_probabilities=event.log_probabilities,
    )
