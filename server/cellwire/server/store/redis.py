"""A store in a Redis or Valkey server, which several daemons may share."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from array import array
from collections.abc import Callable, Sequence

from cellwire.server.errors import CannotOpenStore, DamagedRecord, StoreFailed
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.recent_writes import Recent
from cellwire.server.store.redis_committer import Committer
from cellwire.server.store.redis_leases import RedisLeases
from cellwire.server.store.redis_link import RedisLink
from cellwire.server.store.redis_reader import RedisReader
from cellwire.server.store.redis_wanted import by_session, parts
from cellwire.server.store.server_checks import ServerChecks
from cellwire.server.store.writes import Write, effective

_log = logging.getLogger(__name__)


def open_redis(url: str, *, replicas: int = 0, lease_s: float = 5.0) -> OpenedStore:
    """Open the store in a server, with a lease; CannotOpenStore."""
    link = RedisLink(url, replicas=replicas)
    checks = ServerChecks(link, replicas)
    try:
        for warning in checks.check():
            _log.warning("%s", warning)
        leases = RedisLeases(link, lease_s)
        return OpenedStore(RedisStore(link, leases, checks), leases)
    except StoreFailed as error:
        link.close()
        raise CannotOpenStore(str(error)) from error
    except BaseException:
        link.close()
        raise


class RedisStore:
    """Keeps sessions in a server. Writes those that this daemon has claimed."""

    def __init__(
        self,
        link: RedisLink,
        leases: RedisLeases,
        checks: ServerChecks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells how long ago something was written, in seconds; StoreFailed."""
        self._link = link
        self._checks = checks
        self._reader = RedisReader(link)
        recent = Recent(clock)
        self._committer = Committer(
            link, leases.daemon_id, leases.claims, recent, self._has_changed
        )
        self._writing = threading.Lock()
        self._run_id = leases.run_id
        self._data_id = checks.data_id()
        leases.notice = self.notice

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes, safe on return: all of them, or none; very many in parts."""
        with self._writing:
            for part in parts(by_session(effective(writes))):
                self._committer.commit(part)

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens."""
        return self._reader.load(session_id, last_tokens)

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint."""
        return self._reader.load_checkpoint(session_id, name, last_tokens)

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state."""
        return self._reader.head(session_id)

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return a part of a text."""
        return self._reader.text(session_id, start, end)

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return sessions in the order of their ids."""
        return self._reader.sessions(after, limit)

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of sessions that have expired."""
        return self._reader.expired(now_s, limit)

    def reopen(self) -> None:
        """Begin anew after a StoreFailed; give a server that restarted what it may have lost."""
        with self._writing:
            self._link.disconnect()
            try:
                self._checks.check()
            except CannotOpenStore as error:
                raise StoreFailed(str(error)) from error
            self._give_again(self._checks.run_id())

    def close(self) -> None:
        """Close the connections."""
        with self._writing:
            self._link.close()

    def notice(self, run_id: str) -> None:
        """Give a server that has restarted, and so runs under another id, what it may have lost.

        Called by who renews the lease, who must not wait for a commit.
        """
        if run_id != self._run_id and self._writing.acquire(blocking=False):
            try:
                # If it fails, so does the next commit, or the next renewal tries again.
                with contextlib.suppress(StoreFailed):
                    self._give_again(run_id)
            finally:
                self._writing.release()

    def _has_changed(self) -> bool:
        return self._checks.data_id() != self._data_id

    def _give_again(self, run_id: str) -> None:
        if run_id != self._run_id:
            data_id = self._checks.data_id()
            self._committer.repair()
            self._run_id, self._data_id = run_id, data_id
