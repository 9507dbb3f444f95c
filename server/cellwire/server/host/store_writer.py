"""The thread that commits sessions to a store. Nobody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from cellwire.server.errors import CellwireError, Moved, StoreFailed, Unavailable
from cellwire.server.host.flushes import Flushes, new_future
from cellwire.server.host.own_thread import OwnThread
from cellwire.server.host.waiting_writes import WaitingWrites
from cellwire.server.host.writer_listener import WriterListener
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import Create, Delete, Write

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.1
_MOST_RETRY_S = 10.0


class StoreWriter:
    """Commits what has gathered since its last commit, in a thread.

    While the store fails, what waits is kept, joined by session. The writer reopens the store and
    commits the same again, with growing pauses. A session that the store refuses is dropped alone.
    How much waits is for others to bound: see store_room.py.
    """

    def __init__(
        self,
        store: Store,
        listener: WriterListener,
        *,
        pause: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        """`pause` waits for an event, at most that many seconds. Nothing runs before `start`."""
        self._store = store
        self._listener = listener
        self._pause = pause
        self._news = threading.Condition()  # guards what follows
        self._waiting = WaitingWrites()
        self._in_commit = WaitingWrites()
        self._flushes = Flushes()  # of what waits
        self._flushes_in_commit = Flushes()
        self._lost: dict[str, CellwireError] = {}
        self._failing: StoreFailed | None = None
        self._closing = threading.Event()
        self._ended = False
        self._thread = OwnThread("cellwire-store", self._run)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def failing(self) -> StoreFailed | None:
        """Why nothing becomes safe at present; None if the store is well."""
        return self._failing

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait for the store, about."""
        return self._waiting.size + self._in_commit.size

    @property
    def ended(self) -> bool:
        """Whether the thread uses the store no more."""
        return not self._thread.is_alive()

    def take_up(self, session_id: str) -> None:
        """Write a session again that was lost: it goes on from what is stored of it."""
        with self._news:
            self._lost.pop(session_id, None)

    def write(self, writes: Iterable[Write]) -> None:
        """Take writes, in their order; never waits for the store."""
        with self._news:
            for write in writes:
                if isinstance(write, Delete | Create):
                    self._lost.pop(write.session_id, None)
                if write.session_id not in self._lost:
                    self._waiting.add(write)
            self._news.notify()

    def flush(self, session_id: str | None = None) -> Future[None]:
        """Return a future that is done when all writes so far, of a session or of all, are safe.

        It raises why the session was lost; Unavailable if the writer ends before.
        """
        with self._news:
            waits = self._has(self._waiting, session_id)
            in_commit = self._has(self._in_commit, session_id)
            if not self._ended and (waits or in_commit):
                return (self._flushes if waits else self._flushes_in_commit).add(session_id)
            error = Unavailable() if waits or in_commit else self._lost.get(session_id or "")
        future = new_future()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        return future

    def close(self, timeout_s: float) -> bool:
        """Commit what waits, with one last attempt if the store fails, and end the thread.

        Returns whether everything is safe; False if it is not after that time. The store is in use
        by the thread until it has ended.
        """
        self._closing.set()
        with self._news:
            self._news.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._in_commit and not self._waiting

    @staticmethod
    def _has(writes: WaitingWrites, session_id: str | None) -> bool:
        return bool(writes) if session_id is None else session_id in writes

    def _run(self) -> None:
        try:
            while self._gather() and self._commit():
                pass
        # Without the thread nothing becomes safe any more, and somebody must hear of it.
        except Exception as error:  # noqa: BLE001
            _log.exception("the thread of the store has ended by a fault")
            self._failing = StoreFailed(f"the thread of the store has ended by a fault: {error!r}")
            self._listener.failing(self._failing)
        finally:
            with self._news:
                self._ended = True
                left = [self._flushes.take(), self._flushes_in_commit.take()]
            for flushes in left:
                flushes.fail(Unavailable())

    def _gather(self) -> bool:
        """Wait for writes, and take all there are; False if there are none and none will come.

        Where a lost session's writes were all there was, only flushes are left.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._flushes or self._closing.is_set())
            self._in_commit, self._waiting = self._waiting, WaitingWrites()
            self._flushes_in_commit = self._flushes.take()
            return bool(self._in_commit or self._flushes_in_commit)

    def _commit(self) -> bool:
        """Commit what was taken, however long it takes; False if the last attempt fails."""
        pause_s = _FIRST_RETRY_S
        while True:
            last = self._closing.is_set() and self._failing is not None
            try:
                if self._failing is not None:
                    self._store.reopen()
                self._commit_once()
            except StoreFailed as error:
                self._note_failure(error)
            # A fault of the store must not end the thread: nothing would ever be safe again.
            except Exception as error:  # noqa: BLE001
                _log.exception("the store of sessions has a fault")
                self._note_failure(StoreFailed(f"the store has a fault: {error!r}"))
            else:
                self._note_success()
                return True
            if last:
                return False
            self._pause(self._closing, pause_s)
            pause_s = min(2 * pause_s, _MOST_RETRY_S)

    def _commit_once(self) -> None:
        """Commit what was taken, without the sessions that the store refuses."""
        while self._in_commit:
            try:
                self._store.commit(self._in_commit.writes())
            except RefusedWrite as refused:
                self._refuse(refused.session_id, refused.error)
            else:
                return

    def _refuse(self, session_id: str, error: CellwireError) -> None:
        with self._news:
            self._in_commit.drop(session_id)
            flushes = self._drop(session_id, error)
            in_commit = self._flushes_in_commit.take_of(session_id)
        self._report_lost(session_id, error, flushes, in_commit)

    def _note_failure(self, error: StoreFailed) -> None:
        if self._failing is None:
            _log.error("sessions are not safe at present: %s; the daemon goes on trying", error)
        if str(self._failing) != str(error):
            self._failing = error
            self._listener.failing(error)

    def _note_success(self) -> None:
        if self._failing is not None:
            _log.warning("the store of sessions works again")
            self._failing = None
            self._listener.well()
        with self._news:
            revisions = self._in_commit.revisions()
            self._in_commit = WaitingWrites()
            flushes = self._flushes_in_commit.take()
        if revisions:
            self._listener.safe(revisions)
        flushes.succeed()

    def _drop(self, session_id: str, error: CellwireError) -> Flushes:
        """Drop what waits of a session, and write no more of it; return who waits for it."""
        self._waiting.drop(session_id)
        self._lost[session_id] = error
        return self._flushes.take_of(session_id)

    def _report_lost(self, session_id: str, error: CellwireError, *flushes: Flushes) -> None:
        if isinstance(error, Moved):
            _log.warning("a session ends here: %s", error)
        else:
            _log.error("the session %s is not safe any more: %s", session_id, error)
        self._listener.lost(session_id, error)
        for some in flushes:
            some.fail(error)
