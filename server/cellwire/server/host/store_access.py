"""A store from outside the daemons that use it: read beside them, written without them."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cellwire.server.errors import CannotOpenStore, DamagedRecord, FailedPrecondition, StoreInUse
from cellwire.server.host.config import Config
from cellwire.server.host.opening import open_store, with_redis
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.sqlite import SqliteStore, bystander
from cellwire.server.store.sqlite_file import FILE_NAME
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import Delete, Write

_USE_A_DAEMON = (
    "may have the session in memory; let that daemon do it: --target HOST:PORT in place of --state"
)


class Readable(Protocol):
    """What is read of a store; StoreFailed, and CannotOpenStore if it is none."""

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens; NotFound, DamagedRecord."""

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state; NotFound, DamagedRecord."""

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return the tokens from offset `start` up to `end`; NotFound, DamagedRecord."""

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return the first `limit` sessions whose ids follow `after`, in the order of ids."""


class StoreAccess(Protocol):
    """The way to a store."""

    def reading(self) -> contextlib.AbstractContextManager[Readable]:
        """Read it, whoever uses it meanwhile."""

    def write(self, session_id: str, writes: Sequence[Write]) -> None:
        """Carry out writes of a session that no daemon has; CannotOpenStore, FailedPrecondition."""


class FolderAccess:
    """A folder, which one daemon at a time uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def reading(self) -> Iterator[Readable]:
        """Read it, and make no file."""
        yield bystander(self._folder)

    def write(self, session_id: str, writes: Sequence[Write]) -> None:
        """Write while no daemon uses it: one would go on writing what it has in memory."""
        del session_id
        if not (self._folder / FILE_NAME).exists():
            raise CannotOpenStore(
                f"there is no store in {self._folder}: it has no {FILE_NAME}; give the folder that "
                "`cellwire serve --state` was given"
            )
        try:
            store = SqliteStore(self._folder)
        except StoreInUse as error:
            raise CannotOpenStore(
                f"{error.holder} uses the state folder {self._folder}, and {_USE_A_DAEMON}. Or "
                "stop it first"
            ) from error
        with contextlib.closing(store):
            _commit(store, writes)


class ServerAccess:
    """A Redis server. A session is claimed before it is written, as by a daemon."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextlib.contextmanager
    def reading(self) -> Iterator[Readable]:
        """Read it, and write nothing."""
        with with_redis():
            from cellwire.server.store.redis_link import RedisLink
            from cellwire.server.store.redis_reader import RedisReader
        with contextlib.closing(RedisLink(self._url)) as link:
            yield RedisReader(link)

    def write(self, session_id: str, writes: Sequence[Write]) -> None:
        """Write a session that no living daemon holds."""
        opened = open_store(Config(state=self._url))
        assert opened is not None
        with contextlib.closing(opened.store):
            try:
                _claim(opened, session_id, writes)
                _commit(opened.store, writes)
            finally:
                if opened.leases is not None:
                    opened.leases.resign()


def access_to(state: str) -> StoreAccess:
    """Return the way to a store by what `cellwire serve --state` was given."""
    return ServerAccess(state) if "://" in state else FolderAccess(Path(state))


def _claim(opened: OpenedStore, session_id: str, writes: Sequence[Write]) -> None:
    # A session that is created is claimed thereby.
    if opened.leases is None or not isinstance(writes[0], Delete):
        return
    if opened.leases.claim(session_id) is not None:
        raise FailedPrecondition(f"a daemon holds the session {session_id!r}, and {_USE_A_DAEMON}")


def _commit(store: Store, writes: Sequence[Write]) -> None:
    try:
        store.commit(writes)
    except RefusedWrite as refused:
        raise refused.error from refused
