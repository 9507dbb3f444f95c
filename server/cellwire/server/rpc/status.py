"""The one table from our errors to gRPC's statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import NoReturn, Protocol, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status

from cellwire.server.errors import (
    Aborted,
    AlreadyExists,
    CellwireError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotCompiled,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    StepFailed,
    Unavailable,
    UnknownSymbol,
)

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[object]])

_CODES: dict[type[CellwireError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownSymbol: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Aborted: grpc.StatusCode.ABORTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    StepFailed: grpc.StatusCode.INTERNAL,
    NotCompiled: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Internal: grpc.StatusCode.INTERNAL,
}

_RETRY_DELAY_S = 1
# Statuses travel in headers, which gRPC limits to 16 KiB; a message may quote what a client sent.
_MAX_MESSAGE_CHARS = 1_000


class Abortable(Protocol):
    """The part of a servicer context that ends a call."""

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call; does not return."""


def status_of(error: CellwireError) -> Status:
    """Return the status of an error: code, message, and details a program can read."""
    message = str(error)
    if len(message) > _MAX_MESSAGE_CHARS:
        message = message[:_MAX_MESSAGE_CHARS] + "..."
    code: int = _CODES[type(error)].value[0]
    return Status(code=code, message=message, details=map(_packed, _details(error)))


async def abort(context: Abortable, error: CellwireError) -> NoReturn:
    """End a call with the status of an error."""
    try:
        await context.abort_with_status(rpc_status.to_status(status_of(error)))
    except aio.InternalError as gone:  # the client has gone meanwhile
        raise asyncio.CancelledError from gone


def with_status(handler: Handler) -> Handler:
    """Let a handler of a servicer raise CellwireError, and its call end with that status."""

    @wraps(handler)
    async def handle(servicer: object, request: object, context: Abortable) -> object:
        try:
            return await handler(servicer, request, context)
        except CellwireError as error:
            await abort(context, error)

    return cast("Handler", handle)


def _details(error: CellwireError) -> list[Message]:
    if isinstance(error, UnknownSymbol):
        violation = BadRequest.FieldViolation(
            field="text", description=str(error), reason="UNKNOWN_SYMBOL"
        )
        return [BadRequest(field_violations=[violation])]
    if isinstance(error, ResourceExhausted):
        return [RetryInfo(retry_delay=Duration(seconds=_RETRY_DELAY_S))]
    return []


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
