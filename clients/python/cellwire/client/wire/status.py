"""From gRPC statuses, and their google.rpc details, to errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from cellwire.client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    CellwireError,
    DataLoss,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)

_DETAILS_KEY = "grpc-status-details-bin"

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
        DataLoss,
        Internal,
        Unavailable,
    )
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_of_status(status: Status) -> CellwireError:
    """Return the error for a status; its details become the error's attributes."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    kind = _ERRORS.get(code, CellwireError)
    error = kind(status.message or code.name, **_attributes(status.details))
    error.code = code
    return error


def error_of_call(
    code: grpc.StatusCode, message: str, trailing_metadata: Iterable[tuple[str, str | bytes]]
) -> CellwireError:
    """Return the error for the status and the trailing metadata of a call.

    The details hold the status, too. A proxy that resets a stream behind its status hides the one
    and not the other: HAProxy 2.6 makes CANCELLED of all.
    """
    status = Status(code=code.value[0], message=message)
    for key, value in trailing_metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            told = _parse(value)
            if code is grpc.StatusCode.CANCELLED and told.code:
                status = told
            else:
                status.details.extend(told.details)
    return error_of_status(status)


def error_of_rpc(error: grpc.aio.AioRpcError) -> CellwireError:
    """Return the error for a failed call."""
    return error_of_call(error.code(), error.details() or "", error.trailing_metadata())


def _parse(value: bytes) -> Status:
    """Parse the details of a status; a proxy may have put anything there."""
    try:
        return Status.FromString(value)
    except DecodeError:
        return Status()


def _attributes(details: Iterable[AnyMessage]) -> dict[str, Any]:
    """Return the details as arguments of CellwireError; kinds without an argument are skipped."""
    attributes: dict[str, Any] = {}
    retry, bad_request, info = RetryInfo(), BadRequest(), ErrorInfo()
    for detail in details:
        if detail.Unpack(retry):
            delay = retry.retry_delay
            attributes["retry_delay_s"] = delay.seconds + delay.nanos / 1e9
        elif detail.Unpack(bad_request):
            attributes["field_violations"] = tuple(
                FieldViolation(violation.field, violation.description, violation.reason)
                for violation in bad_request.field_violations
            )
        elif detail.Unpack(info):
            attributes["reason"] = info.reason
            attributes["metadata"] = dict(info.metadata)
    return attributes
