"""The daemon's messages, as they go."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from grpc import aio

Response = TypeVar("Response")


async def write(context: aio.ServicerContext[Any, Response], response: Response) -> None:
    """Write a message; CancelledError if the client has gone, which may show only here."""
    try:
        await context.write(response)
    except aio.InternalError as gone:
        raise asyncio.CancelledError from gone
