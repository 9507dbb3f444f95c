"""The one table from errors to gRPC's statuses, and their details."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NoReturn, Protocol

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status

from cellwire.server.errors import (
    Aborted,
    AlreadyExists,
    CellwireError,
    DamagedRecord,
    FailedPrecondition,
    HasClientElsewhere,
    Internal,
    InvalidArgument,
    Moved,
    NotCompiled,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    StepFailed,
    StoreFailed,
    Unavailable,
    UnknownSymbol,
)

DOMAIN = "cellwire"

# By error: the code, and the reason in ErrorInfo.
_STATUSES: dict[type[CellwireError], tuple[grpc.StatusCode, str]] = {
    InvalidArgument: (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    UnknownSymbol: (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_SYMBOL"),
    NotFound: (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    FailedPrecondition: (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
    HasClientElsewhere: (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
    OutOfRange: (grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE"),
    AlreadyExists: (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"),
    PermissionDenied: (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    ResourceExhausted: (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
    Aborted: (grpc.StatusCode.ABORTED, "ABORTED"),
    Moved: (grpc.StatusCode.ABORTED, "SESSION_MOVED"),
    Unavailable: (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    StepFailed: (grpc.StatusCode.INTERNAL, "STEP_FAILED"),
    NotCompiled: (grpc.StatusCode.RESOURCE_EXHAUSTED, "NOT_COMPILED"),
    Internal: (grpc.StatusCode.INTERNAL, "INTERNAL"),
    DamagedRecord: (grpc.StatusCode.DATA_LOSS, "DAMAGED_RECORD"),
    StoreFailed: (grpc.StatusCode.UNAVAILABLE, "STORE_FAILED"),
}

_RETRY_DELAY = Duration(seconds=1)
_MOVED_RETRY_DELAY = Duration(nanos=100_000_000)
# A status travels in headers, which gRPC limits to 16 KiB, up to four times: as a message with
# three bytes for each that is no ASCII, and in the details in base64. A message, and a symbol, may
# quote what a client sent.
_MAX_MESSAGE_BYTES = 1_000
_MAX_SYMBOL_BYTES = 200


class Abortable(Protocol):
    """The part of a servicer context that ends a call."""

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call; does not return."""


def status_of(error: CellwireError) -> Status:
    """Return the status of an error: code, message, and details for programs."""
    code, _ = _STATUSES[type(error)]
    number: int = code.value[0]
    message = _shortened(str(error), _MAX_MESSAGE_BYTES)
    return Status(code=number, message=message, details=map(_packed, _details(error, message)))


async def abort(context: Abortable, status: Status) -> NoReturn:
    """End a call with a status; CancelledError if the client has gone."""
    try:
        await context.abort_with_status(rpc_status.to_status(status))
    except aio.InternalError as gone:
        raise asyncio.CancelledError from gone


def _details(error: CellwireError, message: str) -> Iterator[Message]:
    _, reason = _STATUSES[type(error)]
    metadata = {}
    if isinstance(error, InvalidArgument) and error.field:
        metadata["field"] = error.field
        violation = BadRequest.FieldViolation(field=error.field, description=message, reason=reason)
        yield BadRequest(field_violations=[violation])
    if isinstance(error, UnknownSymbol):
        metadata["symbol"] = _shortened(error.symbol, _MAX_SYMBOL_BYTES)
        metadata["offset"] = str(error.offset)
    if isinstance(error, ResourceExhausted | Unavailable | StoreFailed):
        yield RetryInfo(retry_delay=_RETRY_DELAY)
    if isinstance(error, Moved):
        yield RetryInfo(retry_delay=_MOVED_RETRY_DELAY)
    yield ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)


def _shortened(text: str, most_bytes: int) -> str:
    """Return the beginning of a text, in whole characters, with a mark if there is more."""
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return data[:most_bytes].decode(errors="ignore") + "..."


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
