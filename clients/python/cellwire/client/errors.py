"""The errors of this client, named as the gRPC statuses.

    CellwireError
        InvalidArgument      the request is wrong: an unknown symbol, a value out of range
        NotFound             no such model, session, operation or completion
        AlreadyExists        a model of that name is served, or there is a session of that id
        PermissionDenied     the daemon's configuration does not allow it
        FailedPrecondition   not possible in this state: generate in a session without text
        OutOfRange           beyond the session's text or rewind window
        ResourceExhausted    the daemon is full, or too much is waiting in the session
        Cancelled            ended by this client: the operation, its session or the client closed
            Superseded       a complete that is out of date: the session's text has changed
        Aborted              the session was deleted or taken over, its model was unloaded, or a
                             durable session cannot go on as it was after a loss
        DataLoss             what the daemon has stored of a session is damaged, or is not there
        Internal             the daemon failed, or broke the contract
        Unavailable          the daemon is shutting down, or the connection was lost
            Unreachable      nothing answered at the target

Each error has `code`, a `grpc.StatusCode`, `message`, in the daemon's words, and the details that
the daemon sent along. Any other status is a plain CellwireError with that code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request that is wrong; a `google.rpc.BadRequest.FieldViolation`."""

    field: str
    """The field's path, for example "text"."""
    description: str
    reason: str = ""
    """For programs, for example "UNKNOWN_SYMBOL"; empty if the daemon sent none."""


class CellwireError(Exception):
    """The base of all errors: a status of the daemon, or a failure of the connection."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        retry_delay_s: float | None = None,
        field_violations: tuple[FieldViolation, ...] = (),
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_delay_s = retry_delay_s
        """How long to wait before the next attempt (RetryInfo); None if the daemon sent none."""
        self.field_violations = field_violations
        """The fields that are wrong (BadRequest)."""
        self.reason = reason
        """The cause in UPPER_SNAKE_CASE (ErrorInfo); empty if the daemon sent none."""
        self.metadata: Mapping[str, str] = dict(metadata or {})
        """What belongs to the reason (ErrorInfo)."""


class InvalidArgument(CellwireError):
    """The request is wrong; the message says what and where."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(CellwireError):
    """There is no such model, session, operation or completion."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(CellwireError):
    """A model of that name is served, or there is a session of that id."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(CellwireError):
    """The daemon's configuration does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class FailedPrecondition(CellwireError):
    """The session or daemon is not in a state that allows this."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(CellwireError):
    """The position is outside the session's text, or outside its rewind window."""

    code = grpc.StatusCode.OUT_OF_RANGE


class ResourceExhausted(CellwireError):
    """The daemon has no room for this now; `retry_delay_s` says when to try again."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Cancelled(CellwireError):
    """Ended by this client: the operation, its session or the client was closed."""

    code = grpc.StatusCode.CANCELLED


class Superseded(Cancelled):
    """The complete is out of date: the session's text has changed."""


class Aborted(CellwireError):
    """The session was deleted or taken over, its model unloaded, or it cannot go on as it was."""

    code = grpc.StatusCode.ABORTED


class DataLoss(CellwireError):
    """What the daemon has stored of the session is damaged, or is less than it has promised."""

    code = grpc.StatusCode.DATA_LOSS


class Internal(CellwireError):
    """The daemon failed or broke the contract."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(CellwireError):
    """The daemon is shutting down, or the connection to it was lost."""

    code = grpc.StatusCode.UNAVAILABLE


class Unreachable(Unavailable):
    """Nothing answered at the target."""
