"""What a write must be to fit the session that is stored: the same for every store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cellwire.server.errors import AlreadyExists, DamagedRecord, Internal, NotFound
from cellwire.server.state.change import Change, StateRecord
from cellwire.server.state.stored_session import Header
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import DiscardCheckpoint, PutCheckpoint, RestoreCheckpoint


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stored session has come."""

    revision: int
    length: int  # of the text, in tokens
    settled: int  # offset up to which the text never changes again

    def after(self, change: Change) -> Position:
        """Return the position after a change."""
        return replace(self, revision=change.revision, length=change.length)


def is_new_session(session_id: str, header: Header, stored: Header | None) -> bool:
    """Whether a session is to be created; RefusedWrite if there is another of its id."""
    if stored is None:
        return True
    if stored != header:
        raise RefusedWrite(session_id, AlreadyExists(f"the session {session_id!r} exists already"))
    return False


def is_new_change(session_id: str, change: Change, position: Position) -> bool:
    """Whether a change is not stored yet; RefusedWrite if it does not fit."""
    if change.revision <= position.revision:
        return False
    if not position.settled <= change.offset <= position.length:
        raise RefusedWrite(
            session_id,
            Internal(
                f"change {change.revision} of the session {session_id!r} begins at offset "
                f"{change.offset}; its stored text ends at {position.length}, and is immutable up "
                f"to {position.settled}"
            ),
        )
    return True


def is_new_state(session_id: str, state: StateRecord, position: Position) -> bool:
    """Whether a state is later than the stored one; RefusedWrite if it does not fit."""
    if state.tokens_read <= position.settled:
        return False
    if state.tokens_read > position.length:
        raise RefusedWrite(
            session_id,
            Internal(
                f"a state of the session {session_id!r} has read {state.tokens_read} tokens, and "
                f"its stored text has {position.length}"
            ),
        )
    return True


def is_checkpoint_due(
    write: PutCheckpoint | DiscardCheckpoint | RestoreCheckpoint, position: Position
) -> bool:
    """Whether a write of a checkpoint is still to be carried out; RefusedWrite if it is too early.

    One that is due may have been carried out already: again, it does the same.
    """
    if isinstance(write, RestoreCheckpoint):
        return position.revision < write.restoration.revision
    if position.revision < write.revision:
        raise RefusedWrite(
            write.session_id,
            Internal(
                f"the checkpoint {write.name!r} of the session {write.session_id!r} is one of "
                f"revision {write.revision}; the stored session has revision {position.revision}"
            ),
        )
    return position.revision == write.revision


def no_checkpoint(session_id: str, name: str) -> NotFound:
    """Return the error of a named checkpoint that is not in the store."""
    return NotFound(f"the session {session_id!r} has no checkpoint {name!r} in the store")


def not_stored(session_id: str) -> NotFound:
    """Return the error of a session that is not in the store."""
    return NotFound(f"there is no session {session_id!r} in the store; it may have ended")


def damaged(session_id: str, found: object) -> DamagedRecord:
    """Return the error of a session that cannot be read."""
    return DamagedRecord(
        f"the session {session_id!r} is stored, but cannot be read: {found}. Other sessions are "
        "not concerned. Restore it from an export, or delete it",
        session_id=session_id,
    )
