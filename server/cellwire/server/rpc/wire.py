"""Messages on their way in and out: bytes that cannot be read, and clients that have gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from grpc import aio

from cellwire.server.batch.limits import FIRST_MESSAGE_TIMEOUT_S
from cellwire.server.errors import FailedPrecondition, InvalidArgument

Handler = TypeVar("Handler", bound=Callable[..., Any])
Request = TypeVar("Request")
Response = TypeVar("Response")


async def write(context: aio.ServicerContext[Any, Response], response: Response) -> None:
    """Write a message; CancelledError if the client has gone, which may show only here."""
    try:
        await context.write(response)
    except aio.InternalError as gone:
        raise asyncio.CancelledError from gone


def writing_its_response(handler: Handler) -> Handler:
    """Mark a unary handler that writes its response to the context, and returns None.

    It then knows when the client has taken the response; one that is returned is gRPC's, which
    keeps it for as long as the client does not read.
    """
    handler.writes_its_response = True  # type: ignore[attr-defined]
    return handler


def writes_its_response(handler: Callable[..., Any]) -> bool:
    """Whether a handler is marked so."""
    return getattr(handler, "writes_its_response", False)


async def only_request(requests: AsyncIterator[Request]) -> Request:
    """Return the request of a call that has one, and keep no hold on it.

    InvalidArgument if its bytes cannot be read or the client half-closes without one;
    FailedPrecondition if none comes in time.
    """
    generator = aiter(requests)
    assert isinstance(generator, AsyncGenerator)
    try:
        async with asyncio.timeout(FIRST_MESSAGE_TIMEOUT_S):
            return await anext(generator)  # gRPC decodes here
    except StopAsyncIteration:
        raise InvalidArgument(
            "the call ended without a request; send one message, which may be empty"
        ) from None
    except TimeoutError:
        raise FailedPrecondition(f"no request came within {FIRST_MESSAGE_TIMEOUT_S} s") from None
    except DecodeError as error:
        raise _unreadable(str(error)) from error
    finally:
        await generator.aclose()  # otherwise its frame would keep the request


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
