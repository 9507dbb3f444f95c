"""The commands to an engine, which `Engine.handle` carries out.

A command about a session that does not exist has no effect, except `AttachReader`, whose answer
says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.server.errors import CellwireError
from cellwire.server.session.operations import Operation, Restore
from cellwire.server.session.restore_task import Supplied


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Create an empty session: answered by Opened, or by Closed if there is no room."""

    session_id: str
    operation_id: int
    seed: int
    rewind_window: int  # tokens


@dataclass(frozen=True, slots=True)
class SubmitOperation:
    """Queue an operation behind those the session has."""

    session_id: str
    operation: Operation


@dataclass(frozen=True, slots=True)
class FinishSession:
    """Finish the queued operations, then close the session, or with `keep` only detach from it."""

    session_id: str
    keep: bool


@dataclass(frozen=True, slots=True)
class CancelOperation:
    """End an operation, running or queued, ahead of all others."""

    session_id: str
    operation_id: int  # of this cancel
    target: int


@dataclass(frozen=True, slots=True)
class CancelAll:
    """End every operation of a session, and keep the session."""

    session_id: str


@dataclass(frozen=True, slots=True)
class GrantTokens:
    """Allow a session to generate this many more tokens: its reader has taken as many."""

    session_id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class HoldSession:
    """Suspend a session until a reader attaches."""

    session_id: str


@dataclass(frozen=True, slots=True)
class AttachReader:
    """Report a session's text from `offset` on (None: from its end), and resume it if it is held.

    Answered by Attached or AttachFailed.
    """

    session_id: str
    operation_id: int  # the host's number of the attach: two clients may use one operation id
    offset: int | None


@dataclass(frozen=True, slots=True)
class ReadState:
    """Report a session's oldest state, in order with its other events: answered by StateRead.

    While an append runs, its tokens are in no event: the state is then reported after it. Not
    answered if the state cannot be read, or the session ends before.
    """

    session_id: str


@dataclass(frozen=True, slots=True)
class SupplySnapshot:
    """Let a restore go on that waits for it, unless it has been cancelled meanwhile."""

    session_id: str
    operation: Restore
    snapshot: Supplied


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End a session at once, whatever it is doing."""

    session_id: str
    error: CellwireError | None = None


SessionCommand = (
    SubmitOperation
    | FinishSession
    | CancelOperation
    | CancelAll
    | GrantTokens
    | HoldSession
    | AttachReader
    | SupplySnapshot
    | CloseSession
)
Command = OpenSession | ReadState | SessionCommand
