"""The client of a Cellwire daemon.

    async with cellwire.client.connect("127.0.0.1:50051") as daemon:
        async with daemon.session(model="austen", seed=7) as session:
            await session.append("It is a truth ")
            async for text in session.generate(max_tokens=200, temperature=0.8):
                print(text, end="", flush=True)

Everything here runs in the caller's event loop; `cellwire.client.sync` is the same for programs
without one. All errors are CellwireError.
"""

from cellwire.client._grpc_import import grpc as _grpc  # noqa: F401  # before all others
from cellwire.client.client import DEFAULT_TARGET, Client, connect
from cellwire.client.durability import Durability
from cellwire.client.durable.reconnection import (
    RECONNECT_TIMEOUT_S,
    ConnectionLost,
    ConnectionRestored,
    OnReconnect,
)
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
    Superseded,
    Unavailable,
    Unreachable,
)
from cellwire.client.generation import Generation
from cellwire.client.model import Model, Training, Vocabulary
from cellwire.client.options import (
    CompleteOptions,
    CompletionEnd,
    DurabilityName,
    GenerateOptions,
    OnDisconnect,
    OpenOptions,
    UnknownSymbols,
)
from cellwire.client.session import Session
from cellwire.client.values import (
    Alternative,
    Appended,
    Checkpointed,
    Classified,
    Completed,
    Completion,
    Discarded,
    Finished,
    FinishReason,
    Forked,
    LabelScore,
    NamedCheckpoint,
    Piece,
    Restored,
    Rewound,
    SafePoint,
    Scored,
    SessionInfo,
    Usage,
)
from cellwire.client.version import __version__
from cellwire.client.wire.channel import CONNECT_TIMEOUT_S

__all__ = [
    "CONNECT_TIMEOUT_S",
    "DEFAULT_TARGET",
    "RECONNECT_TIMEOUT_S",
    "Aborted",
    "AlreadyExists",
    "Alternative",
    "Appended",
    "Cancelled",
    "CellwireError",
    "Checkpointed",
    "Classified",
    "Client",
    "CompleteOptions",
    "Completed",
    "Completion",
    "CompletionEnd",
    "ConnectionLost",
    "ConnectionRestored",
    "DataLoss",
    "Discarded",
    "Durability",
    "DurabilityName",
    "FailedPrecondition",
    "FieldViolation",
    "FinishReason",
    "Finished",
    "Forked",
    "GenerateOptions",
    "Generation",
    "Internal",
    "InvalidArgument",
    "LabelScore",
    "Model",
    "NamedCheckpoint",
    "NotFound",
    "OnDisconnect",
    "OnReconnect",
    "OpenOptions",
    "OutOfRange",
    "PermissionDenied",
    "Piece",
    "ResourceExhausted",
    "Restored",
    "Rewound",
    "SafePoint",
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
    "__version__",
    "connect",
]
