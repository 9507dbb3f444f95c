"""A client's messages, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError

from cellwire.server.errors import InvalidArgument
from cellwire.v1.generation_pb2 import StreamSessionRequest


async def readable(
    requests: AsyncIterator[StreamSessionRequest],
) -> AsyncIterator[StreamSessionRequest]:
    """Pass messages on; InvalidRequest for bytes that are none (grpc.aio parses on reading)."""
    try:
        async for request in requests:
            yield request
    except DecodeError as error:
        raise InvalidArgument(
            f"the bytes are no StreamSessionRequest, or a text is not UTF-8: {error}"
        ) from error
