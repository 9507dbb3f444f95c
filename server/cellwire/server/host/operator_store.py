"""The sessions in a daemon's store, for whoever runs the daemon: without a daemon, or beside it.

The `cellwire sessions` command finds this as an entry point of the group `cellwire.stores`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cellwire.server.errors import (
    CannotOpenStore,
    CellwireError,
    DamagedRecord,
    InvalidArgument,
    StoreInUse,
)
from cellwire.server.host.settings import (
    Durability,
    Settings,
    check_session_id,
    new_session_id,
)
from cellwire.server.session.change_log import first_change
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import VERSION, SnapshotFile, from_bytes, to_bytes
from cellwire.server.state.stored_session import Header, StoredHead
from cellwire.server.state.text_history import MAX_REMEMBERED
from cellwire.server.store.sqlite import SqliteReader, SqliteStore, bystander
from cellwire.server.store.sqlite_file import FILE_NAME
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import AddChange, Create, Delete, KeepUntil, PutState, Write

_MAX_STATE_BYTES = 2**30  # of any model: a file is read without knowing its model
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

    Whatever reads works while a daemon uses the store, and sees what is safe. Whatever writes needs
    the store for itself: a daemon has sessions in memory, and would write over it.
    """

    errors: tuple[type[Exception], ...] = (CellwireError, CannotOpenStore)
    """What the methods raise; the messages are for people."""

    def __init__(self, state: str, clock: Callable[[], float] = time.time) -> None:
        """`state` is what `cellwire serve --state` was given; `clock` is the wall clock."""
        self._folder = Path(state)
        self._clock = clock

    def sessions(self, after: str = "", limit: int = 100) -> Sequence[StoredFacts]:
        """Return the first sessions whose ids follow `after`, in the order of ids."""
        return [_facts(found) for found in self._reader().sessions(after, limit)]

    def session(self, session_id: str) -> StoredFacts:
        """Return what is known of a session; NotFound, DamagedRecord."""
        return _facts(self._reader().head(session_id))

    def export(self, session_id: str) -> bytes:
        """Return a session as bytes, as ExportSession does; NotFound, DamagedRecord."""
        stored = self._reader().load(session_id, MAX_REMEMBERED)
        header = stored.head.header
        settings = {name: value for name, value in header.settings.items() if name != "durability"}
        return to_bytes(SnapshotFile(VERSION, header.model_sha256, settings, resumed(stored)))

    def restore(self, data: bytes, session_id: str | None, durability: str) -> str:
        """Store a session from exported bytes, under an id or a new one; return its id.

        InvalidArgument if they are damaged, AlreadyExists.
        """
        if session_id is None:
            session_id = new_session_id()
        check_session_id(session_id, "the id")
        file = from_bytes(data, _MAX_STATE_BYTES)
        settings = replace(
            Settings.restored(file.settings, file.session.rewind_window),
            durability=Durability(durability),
        )
        if not settings.durable:
            raise InvalidArgument("a session in a store is durable: safe_later or safe_first")
        self._write(_begin(session_id, file, settings, self._clock()))
        return session_id

    def delete(self, session_id: str) -> None:
        """Delete a session, damaged or not; NotFound."""
        with contextlib.suppress(DamagedRecord):
            self._reader().head(session_id)
        self._write([Delete(session_id)])

    def _reader(self) -> SqliteReader:
        return bystander(self._folder)

    def _write(self, writes: Sequence[Write]) -> None:
        with self._alone() as store:
            try:
                store.commit(writes)
            except RefusedWrite as refused:
                raise refused.error from refused

    @contextlib.contextmanager
    def _alone(self) -> Iterator[SqliteStore]:
        """Open the store for writing; StoreInUse in words for people who have a daemon."""
        if not (self._folder / FILE_NAME).exists():
            raise CannotOpenStore(
                f"there is no store in {self._folder}: it has no {FILE_NAME}; give the folder that "
                "`cellwire serve --state` was given"
            )
        try:
            store = SqliteStore(self._folder)
        except StoreInUse as error:
            raise CannotOpenStore(
                f"{error.holder} uses the state folder {self._folder}, and may have the session in "
                "memory; let that daemon do it: --target HOST:PORT in place of --state. Or stop it "
                "first"
            ) from error
        with contextlib.closing(store):
            yield store


def _begin(session_id: str, file: SnapshotFile, settings: Settings, now_s: float) -> list[Write]:
    """Return the writes of a session that begins with an imported text."""
    session = file.session
    known = settings.stored() | {"durability": settings.durability.value}
    if _MODEL in file.settings:
        known[_MODEL] = file.settings[_MODEL]
    change, state = first_change(session)
    header = Header(
        file.model_sha256, session.seed, session.rewind_window, known, now_s, session.text_start
    )
    return [
        Create(session_id, header),
        AddChange(session_id, change),
        *([PutState(session_id, state)] if state.tokens_read else []),
        KeepUntil(session_id, now_s + settings.idle_timeout_s),
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
