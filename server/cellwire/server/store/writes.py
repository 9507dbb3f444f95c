"""What a store is asked to keep, as values.

A write that the store has carried out already changes nothing, so a commit of which nobody knows
whether it took place can be committed again as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellwire.server.state.change import Change, Restoration, StateRecord
from cellwire.server.state.stored_session import Header


@dataclass(frozen=True, slots=True)
class Create:
    """Begin a session, at revision 0. Refused if there is another of this id."""

    session_id: str  # 32 hexadecimal digits, lower case
    header: Header


@dataclass(frozen=True, slots=True)
class AddChange:
    """Add a change to a session, unless the session has reached its revision.

    It may be several changes joined into one, so revisions may be missing between two.
    """

    session_id: str
    change: Change


@dataclass(frozen=True, slots=True)
class PutState:
    """Keep a state in place of the one before, unless that has read as many tokens.

    The tokens it has read become immutable.
    """

    session_id: str
    state: StateRecord


@dataclass(frozen=True, slots=True)
class PutCheckpoint:
    """Keep a session as it is stored at a revision under a name, in place of what has that name.

    Nothing if the session has passed that revision: it has been carried out then.
    """

    session_id: str
    name: str
    revision: int  # of the change before it


@dataclass(frozen=True, slots=True)
class DiscardCheckpoint:
    """Forget a named checkpoint, if it is there and the session has not passed a revision."""

    session_id: str
    name: str
    revision: int  # of the change before it


@dataclass(frozen=True, slots=True)
class RestoreCheckpoint:
    """Make a session what it was at a named checkpoint, unless it has reached the revision."""

    session_id: str
    restoration: Restoration


@dataclass(frozen=True, slots=True)
class KeepUntil:
    """Set when a session expires; None: it does not."""

    session_id: str
    expires_s: float | None  # wall clock, seconds since 1970


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget a session, if it is there."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Release:
    """The session has left this daemon, and any may claim it; the last write until then.

    It means nothing to a store that is one daemon's alone.
    """

    session_id: str


CheckpointWrite = PutCheckpoint | DiscardCheckpoint | RestoreCheckpoint
Write = Create | AddChange | PutState | KeepUntil | Delete | Release | CheckpointWrite


def effective(writes: Sequence[Write]) -> list[Write]:
    """Return writes that can be committed again, without what later ones make pointless.

    Those of a session before its deletion would have no session, and states before a restore
    another text.
    """
    deleted = {w.session_id: at for at, w in enumerate(writes) if isinstance(w, Delete)}
    restored = {w.session_id: at for at, w in enumerate(writes) if isinstance(w, RestoreCheckpoint)}
    return [
        w
        for at, w in enumerate(writes)
        if at >= deleted.get(w.session_id, 0)
        and not (isinstance(w, PutState) and at < restored.get(w.session_id, 0))
    ]
