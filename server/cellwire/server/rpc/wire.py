"""Messages on their way in and out: bytes that cannot be read, and clients that have gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from grpc import aio

from cellwire.server.errors import InvalidArgument

Request = TypeVar("Request")
Response = TypeVar("Response")


async def write(context: aio.ServicerContext[Any, Response], response: Response) -> None:
    """Write a message; CancelledError if the client has gone, which may show only here."""
    try:
        await context.write(response)
    except aio.InternalError as gone:
        raise asyncio.CancelledError from gone


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands for a unary call's request whose bytes cannot be read."""

    reason: str


def decoder(deserialize: Callable[[bytes], Request]) -> Callable[[bytes], Request | Undecodable]:
    """Return a deserializer of unary requests that raises nothing.

    gRPC ends a call whose deserializer raises with UNKNOWN, and its handler never runs.
    """

    def decode(data: bytes) -> Request | Undecodable:
        try:
            return deserialize(data)
        except DecodeError as error:
            return Undecodable(str(error))

    return decode


def decoded(request: Request | Undecodable) -> Request:
    """Return a unary call's request; InvalidArgument if its bytes cannot be read."""
    if isinstance(request, Undecodable):
        raise _unreadable(request.reason)
    return request


async def decoded_stream(requests: AsyncIterator[Request]) -> AsyncIterator[Request]:
    """Yield a stream's requests; InvalidArgument for bytes that cannot be read."""
    try:
        async for request in requests:  # gRPC decodes here
            yield request
    except DecodeError as error:
        raise _unreadable(str(error)) from error


def _unreadable(reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"the bytes are no message of this call, or a text is not UTF-8: {reason}"
    )
