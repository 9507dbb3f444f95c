"""The interface of a store: where sessions are kept that outlive the daemon."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

from cellwire.server.errors import CellwireError, DamagedRecord
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.writes import Write


class RefusedWrite(Exception):
    """A commit failed for one session alone; without its writes, the rest can be committed."""

    def __init__(self, session_id: str, error: CellwireError) -> None:
        """`error` says why.

        NotFound: the session is not in the store. AlreadyExists: another one of its id is.
        DamagedRecord: what is stored of it is damaged. Internal: the write does not fit it.
        Aborted: another daemon holds it (`leases.py`).
        """
        super().__init__(session_id, error)
        self.session_id = session_id
        self.error = error


class Store(Protocol):
    """Keeps sessions. One thread writes; any thread reads, at the same time.

    Every method may raise StoreFailed: the store cannot be reached, or cannot read or write.
    """

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes in their order: all of them, safe on return, or none.

        RefusedWrite: none, because of one session. StoreFailed: all or none of them; `reopen`, and
        then commit the same again. A store that is shared may carry out more than a MiB in
        parts, those of a session always together: then this holds for the part that failed, and
        those before it are safe.
        """

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens: at least those that its state has not read.

        NotFound, DamagedRecord.
        """

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint, as `load`; NotFound, DamagedRecord.

        Its head, revision and operations are those of that time.
        """

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state; NotFound, DamagedRecord."""

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return the tokens from offset `start` up to `end`, as far as there are some.

        A long text is read in parts, so that no call keeps others from working.
        NotFound, DamagedRecord.
        """

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return the first `limit` sessions whose ids follow `after`, in the order of ids.

        In the place of a session that cannot be read stands the error that `head` raises.
        """

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of up to `limit` sessions that have expired, longest ago first."""

    def reopen(self) -> None:
        """Begin anew after a StoreFailed.

        Afterwards, all that can be read is safe, whatever a failed commit has left behind.
        """

    def close(self) -> None:
        """Let go of everything. Nothing may be called afterwards."""
