"""The contract's messages about durable sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cellwire.server import errors
from cellwire.server.errors import CellwireError
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.safe_revisions import SafePoint
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Durability
from cellwire.server.host.stored_description import StoredDescription
from cellwire.server.rpc.status import status_of
from cellwire.server.session.events import FinishReason
from cellwire.server.state import named_checkpoint
from cellwire.server.state.change import DoneKind, DoneOperation
from cellwire.v1 import operations_pb2
from cellwire.v1.sessions_pb2 import NamedCheckpoint, Session

REASONS = {
    FinishReason.MAX_TOKENS: operations_pb2.FINISH_REASON_MAX_TOKENS,
    FinishReason.CANCELLED: operations_pb2.FINISH_REASON_CANCELLED,
    FinishReason.STOP: operations_pb2.FINISH_REASON_STOP,
    FinishReason.SUPERSEDED: operations_pb2.FINISH_REASON_SUPERSEDED,
}

DURABILITIES = {
    Durability.NONE: operations_pb2.DURABILITY_UNSPECIFIED,  # nothing on the wire
    Durability.SAFE_LATER: operations_pb2.DURABILITY_SAFE_LATER,
    Durability.SAFE_FIRST: operations_pb2.DURABILITY_SAFE_FIRST,
}


def safe_message(session: SessionHandle) -> operations_pb2.SafePoint | None:
    """Return how much of a session is safe; None if nothing is, or it is not durable."""
    point = session.safe_point
    return None if point is None else _safe_message(point)


def _safe_message(point: SafePoint) -> operations_pb2.SafePoint:
    return operations_pb2.SafePoint(revision=point.revision, offset=point.offset)


def checkpoint_messages(session: SessionHandle) -> Iterator[NamedCheckpoint]:
    """Yield the named checkpoints of a session, in the order of their names."""
    if isinstance(session, DurableSession):
        yield from _checkpoint_messages(sorted(session.record.changes.checkpoints.values()))


def _checkpoint_messages(
    checkpoints: Iterable[named_checkpoint.NamedCheckpoint],
) -> Iterator[NamedCheckpoint]:
    for name, offset, _ in checkpoints:
        yield NamedCheckpoint(name=name, offset=offset)


def described_message(session: StoredDescription) -> Session:
    """Return the position of a session that another daemon has, with a client or at work."""
    tail, _ = session.model.vocabulary.text(session.tail)
    return Session(
        session_id=session.session_id,
        model=session.model.name,
        seed=session.seed,
        offset=session.safe.offset,
        tail=tail,
        attached=True,
        durability=DURABILITIES[session.durability],
        revision=session.safe.revision,
        safe=_safe_message(session.safe),
        checkpoints=_checkpoint_messages(session.checkpoints),
    )


def done_message(done: DoneOperation) -> operations_pb2.DoneOperation:
    """Return an operation that has ended, with its last answer."""
    message = operations_pb2.DoneOperation(operation_id=done.operation_id)
    match done.kind:
        case DoneKind.APPENDED:
            message.appended.offset = done.offset
            message.appended.log_probability = done.log_probability
        case DoneKind.FINISHED:
            message.finished.reason = REASONS[FinishReason(done.reason)]
            message.finished.offset = done.offset
            message.finished.usage.appended_tokens = done.appended_tokens
            message.finished.usage.generated_tokens = done.generated_tokens
            message.finished.stop_string = done.stop_text
        case DoneKind.REWOUND:
            message.rewound.offset = done.offset
        case DoneKind.CHECKPOINTED:
            message.checkpointed.name, message.checkpointed.offset = done.name, done.offset
        case DoneKind.RESTORED:
            message.restored.name, message.restored.offset = done.name, done.offset
        case DoneKind.DISCARDED:
            message.discarded.name = done.name
        case DoneKind.REJECTED:
            message.rejected.status.CopyFrom(status_of(_error(done)))
    return message


def _error(done: DoneOperation) -> CellwireError:
    """Return the error of a rejected operation, of whose details only the message is left."""
    kind = getattr(errors, done.error, None)
    if not (isinstance(kind, type) and issubclass(kind, CellwireError)):
        kind = errors.Internal
    return kind(done.message)
