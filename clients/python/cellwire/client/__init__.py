"""The client of a Cellwire daemon.

    async with cellwire.client.connect("127.0.0.1:50051") as daemon:
        async with daemon.session(model="austen", seed=7) as session:
            await session.append("It is a truth ")
            async for text in session.generate(max_chars=200, temperature=0.8):
                print(text, end="", flush=True)

Everything here runs in the event loop of the caller. Errors are one tree, CellwireError.
"""

from cellwire.client.client import CONNECT_TIMEOUT_S, DEFAULT_TARGET, Client, connect
from cellwire.client.errors import (
    Cancelled,
    CellwireError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
    Unreachable,
)
from cellwire.client.generation import Generation
from cellwire.client.session import Session
from cellwire.client.values import (
    Appended,
    Finished,
    FinishReason,
    Model,
    Piece,
    Training,
    Usage,
)

__all__ = [
    "CONNECT_TIMEOUT_S",
    "DEFAULT_TARGET",
    "Appended",
    "Cancelled",
    "CellwireError",
    "Client",
    "FailedPrecondition",
    "FinishReason",
    "Finished",
    "Generation",
    "Internal",
    "InvalidArgument",
    "Model",
    "NotFound",
    "OutOfRange",
    "Piece",
    "ResourceExhausted",
    "Session",
    "Training",
    "Unavailable",
    "Unreachable",
    "Usage",
    "connect",
]
