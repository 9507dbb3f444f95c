"""The client of a Cellwire daemon.

    async with cellwire.client.connect("127.0.0.1:50051") as daemon:
        async with daemon.session(model="austen", seed=7) as session:
            await session.append("It is a truth ")
            async for text in session.generate(max_chars=200, temperature=0.8):
                print(text, end="", flush=True)

Everything here runs in the event loop of the caller; `cellwire.client.sync` is the same for
programs that have none. Errors are one tree, CellwireError.
"""

from cellwire.client.channel import CONNECT_TIMEOUT_S
from cellwire.client.client import DEFAULT_TARGET, Client, connect
from cellwire.client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    CellwireError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Superseded,
    Unavailable,
    Unreachable,
)
from cellwire.client.generation import Generation
from cellwire.client.model import Model, Training, Vocabulary
from cellwire.client.options import (
    CompleteOptions,
    CompletionEnd,
    GenerateOptions,
    OnDisconnect,
    OpenOptions,
    UnknownSymbols,
)
from cellwire.client.session import Session
from cellwire.client.values import (
    Alternative,
    Appended,
    Classified,
    Completed,
    Completion,
    Finished,
    FinishReason,
    Forked,
    Imported,
    LabelScore,
    Piece,
    Rewound,
    Scored,
    SessionInfo,
    Usage,
)

__all__ = [
    "CONNECT_TIMEOUT_S",
    "DEFAULT_TARGET",
    "Aborted",
    "AlreadyExists",
    "Alternative",
    "Appended",
    "Cancelled",
    "CellwireError",
    "Classified",
    "Client",
    "CompleteOptions",
    "Completed",
    "Completion",
    "CompletionEnd",
    "FailedPrecondition",
    "FinishReason",
    "Finished",
    "Forked",
    "GenerateOptions",
    "Generation",
    "Imported",
    "Internal",
    "InvalidArgument",
    "LabelScore",
    "Model",
    "NotFound",
    "OnDisconnect",
    "OpenOptions",
    "OutOfRange",
    "PermissionDenied",
    "Piece",
    "ResourceExhausted",
    "Rewound",
    "Scored",
    "Session",
    "SessionInfo",
    "Superseded",
    "Training",
    "Unavailable",
    "UnknownSymbols",
    "Unreachable",
    "Usage",
    "Vocabulary",
    "connect",
]
