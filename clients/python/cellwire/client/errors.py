"""What can go wrong, as one tree.

    CellwireError
        InvalidArgument      the request itself is wrong: an unknown symbol, a setting out of range
        NotFound             no such model, session or completion
        AlreadyExists        a model of that name is being served
        PermissionDenied     the daemon was started so that it does not do this
        FailedPrecondition   right, but not now: generate in a session that has no text
        OutOfRange           further than the session reaches
        ResourceExhausted    the daemon is full, or too much is waiting
        Cancelled            ended from this side: the session or the client was closed
            Superseded       a completion that is stale: its session was asked to move on
        Aborted              the session was deleted or taken over, or its model is served no more
        Internal             the daemon failed, or broke the contract
        Unavailable          the daemon is shutting down, or the connection to it was lost
            Unreachable      nothing answered at the target

Each has `code`, a `grpc.StatusCode`, and `message`, the daemon's own words. A status without a
class of its own is a plain CellwireError with that code.
"""

# the names are those of the gRPC statuses

from __future__ import annotations

import grpc
import grpc.aio


class CellwireError(Exception):
    """Anything the daemon or the connection to it refuses."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(CellwireError):
    """The request is wrong; the message says what and where."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(CellwireError):
    """There is no such model, session, operation or completion."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(CellwireError):
    """There is one of that name already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(CellwireError):
    """The daemon was started so that it does not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class FailedPrecondition(CellwireError):
    """The session is not in a state that allows this."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(CellwireError):
    """The session does not reach that far."""

    code = grpc.StatusCode.OUT_OF_RANGE


class ResourceExhausted(CellwireError):
    """The daemon has no room for this now; later it may."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Cancelled(CellwireError):
    """Ended from this side: the operation, its session or the client was closed."""

    code = grpc.StatusCode.CANCELLED


class Superseded(Cancelled):
    """A completion that nobody needs any more: its session was asked to move on."""


class Aborted(CellwireError):
    """The session is gone from here: deleted, taken over by another stream, or without a model."""

    code = grpc.StatusCode.ABORTED


class Internal(CellwireError):
    """The daemon failed or broke the contract."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(CellwireError):
    """The daemon is shutting down, or the connection to it was lost."""

    code = grpc.StatusCode.UNAVAILABLE


class Unreachable(Unavailable):
    """Nothing answered at the target."""


_ERRORS: dict[grpc.StatusCode, type[CellwireError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        PermissionDenied,
        FailedPrecondition,
        OutOfRange,
        ResourceExhausted,
        Cancelled,
        Aborted,
        Internal,
        Unavailable,
    )
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_of(number: int, message: str) -> CellwireError:
    """Return the error that stands for a number of google.rpc.Code."""
    code = _CODES.get(number, grpc.StatusCode.UNKNOWN)
    error = _ERRORS.get(code, CellwireError)(message or code.name)
    error.code = code
    return error


def error_of_rpc(error: grpc.aio.AioRpcError) -> CellwireError:
    """Return the error that stands for a failed call."""
    return error_of(error.code().value[0], error.details() or "")
