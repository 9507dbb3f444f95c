"""The sessions in a daemon's store, for whoever runs the daemon: without a daemon, or beside it.

The `cellwire sessions` command finds this as an entry point of the group `cellwire.stores`.
"""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellwire.server.errors import (
    CannotOpenStore,
    CellwireError,
    DamagedRecord,
    InvalidArgument,
    NotFound,
)
from cellwire.server.host.settings import (
    Durability,
    Settings,
    check_session_id,
    new_session_id,
)
from cellwire.server.host.snapshot_text import earlier_tokens
from cellwire.server.host.store_access import access_to
from cellwire.server.session.change_log import first_change
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import VERSION, SnapshotFile, from_bytes, to_bytes
from cellwire.server.state.stored_session import Header, StoredHead
from cellwire.server.state.text_history import MAX_REMEMBERED
from cellwire.server.store.tokens import pack_tokens
from cellwire.server.store.writes import (
    AddChange,
    Create,
    Delete,
    KeepUntil,
    PutState,
    Release,
    Write,
)

_MAX_STATE_BYTES = 2**30  # of any model: a file is read without knowing its model
_PART = 2**20  # tokens that are read at once
_MODEL = "model"  # among the stored settings: the model's name when the session began


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What a store knows of a session. Of a damaged one, only its id and `damage`."""

    session_id: str
    model: str = ""  # its name when the session began, if that is known
    model_sha256: str = ""
    seed: int = 0
    revision: int = 0
    tokens: int = 0  # of the whole text
    durability: str = ""
    created_s: float = 0.0  # wall clock, seconds since 1970
    expires_s: float | None = None  # likewise; None: it does not expire
    damage: str = ""


class OperatorStore:
    """Lists, exports, imports and deletes the sessions of a store.

    Whatever reads works while daemons use the store, and sees what is safe. A session that a daemon
    may have in memory is not written, since the daemon would go on writing it.
    """

    errors: tuple[type[Exception], ...] = (CellwireError, CannotOpenStore)
    """What the methods raise; the messages are for people."""

    def __init__(self, state: str, clock: Callable[[], float] = time.time) -> None:
        """`state` is what `cellwire serve --state` was given; `clock` is the wall clock."""
        self._access = access_to(state)
        self._clock = clock

    def sessions(self, after: str = "", limit: int = 100) -> Sequence[StoredFacts]:
        """Return the first sessions whose ids follow `after`, in the order of ids."""
        with self._access.reading() as store:
            return [_facts(found) for found in store.sessions(after, limit)]

    def session(self, session_id: str) -> StoredFacts:
        """Return what is known of a session; NotFound, DamagedRecord."""
        with self._access.reading() as store:
            return _facts(store.head(session_id))

    def export(self, session_id: str) -> bytes:
        """Return a session as bytes, with all of its text; NotFound, DamagedRecord."""
        with self._access.reading() as store:
            stored = store.load(session_id, MAX_REMEMBERED)
            header, session = stored.head.header, resumed(stored)
            # What is before has been read by the state, and never changes.
            earlier = array("I")
            while (at := header.text_start + len(earlier)) < session.text_start:
                part = store.text(session_id, at, min(at + _PART, session.text_start))
                if not part:
                    raise NotFound(f"the session {session_id!r} was replaced by another one")
                earlier += part
        packed = pack_tokens(earlier) if earlier else b""
        return to_bytes(
            SnapshotFile(VERSION, header.model_sha256, header.settings, session, packed)
        )

    def restore(self, data: bytes, session_id: str | None, durability: str) -> str:
        """Store a session from exported bytes, under an id or a new one; return its id.

        InvalidArgument if they are damaged, AlreadyExists.
        """
        if session_id is None:
            session_id = new_session_id()
        check_session_id(session_id, "the id")
        file = from_bytes(data, _MAX_STATE_BYTES)
        settings = Settings.restored(file.settings, file.session.rewind_window)
        settings = settings.with_durability(Durability(durability))
        if not settings.durable:
            raise InvalidArgument("a session in a store is durable: safe_later or safe_first")
        self._access.write(session_id, _begin(session_id, file, settings, self._clock()))
        return session_id

    def delete(self, session_id: str) -> None:
        """Delete a session, damaged or not; NotFound, FailedPrecondition if a daemon has it."""
        with contextlib.suppress(DamagedRecord), self._access.reading() as store:
            store.head(session_id)
        self._access.write(session_id, [Delete(session_id)])


def _begin(session_id: str, file: SnapshotFile, settings: Settings, now_s: float) -> list[Write]:
    """Return the writes of a session that begins with an imported text."""
    session = file.session
    known = settings.stored()
    if _MODEL in file.settings:
        known[_MODEL] = file.settings[_MODEL]
    change, state = first_change(session, earlier_tokens(file))
    header = Header(
        file.model_sha256, session.seed, session.rewind_window, known, now_s, change.offset
    )
    return [
        Create(session_id, header),
        AddChange(session_id, change),
        *([PutState(session_id, state)] if state.tokens_read else []),
        KeepUntil(session_id, now_s + settings.idle_timeout_s),
        Release(session_id),
    ]


def _facts(found: StoredHead | DamagedRecord) -> StoredFacts:
    if isinstance(found, DamagedRecord):
        return StoredFacts(found.session_id, damage=str(found))
    header = found.header
    return StoredFacts(
        session_id=found.session_id,
        model=str(header.settings.get(_MODEL, "")),
        model_sha256=header.model_sha256,
        seed=header.seed,
        revision=found.revision,
        tokens=found.length,
        durability=str(header.settings.get("durability", "")),
        created_s=header.created_s,
        expires_s=found.expires_s,
    )
