"""What the engine reports of a session, in the order it happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cellwire.server.errors import CellwireError
from cellwire.server.operations import Generate


class FinishReason(Enum):
    """Why an operation ended."""

    MAX_CHARS = "max_chars"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Opened:
    """The session exists."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Appended:
    """All of an append's text is in the session."""

    session_id: str
    operation_id: int
    offset: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Written:
    """The model wrote one token, the one at `offset`."""

    session_id: str
    operation: Generate
    offset: int
    token: int
    log_probability: float

    @property
    def operation_id(self) -> int:
        """The operation that wrote it."""
        return self.operation.id


@dataclass(frozen=True, slots=True)
class Finished:
    """An operation ended; what it had done by then is part of the session."""

    session_id: str
    operation_id: int
    reason: FinishReason
    offset: int
    appended_chars: int
    generated_chars: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancel found its operation, which has finished just before."""

    session_id: str
    operation_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An operation failed; the session is as it was, unless `Closed` follows."""

    session_id: str
    operation_id: int
    error: CellwireError


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is gone; nothing follows. `error` says why, if nobody asked for it."""

    session_id: str
    operation_id: int | None  # of the close or open that led to it, if there was one
    error: CellwireError | None = None


Event = Opened | Appended | Written | Finished | Cancelled | Rejected | Closed
