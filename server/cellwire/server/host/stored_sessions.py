"""The durable sessions of a daemon, and the store that keeps them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic

from cellwire.server.batch.limits import SAFE_FIRST_TIMEOUT_S
from cellwire.server.errors import (
    CellwireError,
    DamagedRecord,
    NotFound,
    StoreFailed,
    Unavailable,
)
from cellwire.server.host.daemon_lease import DaemonLease
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.residents import Residents
from cellwire.server.host.restoring import Restoring
from cellwire.server.host.store_reports import StoreReports
from cellwire.server.host.store_room import StoreRoom
from cellwire.server.host.store_writer import StoreWriter
from cellwire.server.session.operations import Restore
from cellwire.server.state.stored_session import Header
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.writes import Delete, KeepUntil, Release, Write

_log = logging.getLogger(__name__)

EXPIRY_MARGIN_S = 600.0
"""While it has a client, a session is stored to expire so much later than its idle timeout, and put
off in time: it does expire if the daemon is killed."""

_CLOSE_TIMEOUT_S = 5.0


class StoredSessions:
    """Tells the store of durable sessions, and the sessions how safe they are.

    Used in the event loop only; the writer's thread reports through it.
    """

    def __init__(
        self,
        opened: OpenedStore,
        clock: Callable[[], float],
        max_resident: int,
        on_health: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`clock` is the wall clock, in seconds since 1970; `on_health` hears of failing stores."""
        self.store = opened.store
        self.leases = opened.leases
        self.lease = DaemonLease(opened.leases, monotonic) if opened.leases is not None else None
        self.residents = Residents(max_resident, lambda: self.is_well)
        self.failing: StoreFailed | None = None  # while it writes
        self._lease_failing: StoreFailed | None = None
        self.clock = clock
        self._on_health = on_health
        self._restoring = Restoring(self)
        self._sessions: dict[str, DurableSession] = {}
        self._writes: list[Write] = []  # that the writer is about to have
        self._loop = asyncio.get_running_loop()
        self._writer = StoreWriter(opened.store, StoreReports(self._loop, self))
        self.room = StoreRoom(lambda: self._writer.waiting_bytes)
        self._writer.start()

    async def close(self) -> None:
        """Make safe what waits, if the store takes it, and close the store."""
        self._pass_on()
        if not await in_own_thread("close the store", self._end_writer):
            _log.error(
                "the store has not taken the last changes of some sessions: those are not safe"
            )
        for session in self:
            session.abandon()

    def _end_writer(self) -> bool:
        safe = self._writer.close(_CLOSE_TIMEOUT_S)
        if self.lease is not None:
            self.lease.end(resign=self._writer.ended)
        if self._writer.ended:
            self.store.close()
        return safe

    @property
    def shared(self) -> bool:
        """Whether other daemons use the store, too."""
        return self.leases is not None

    def write(self, write: Write) -> None:
        """Let the store carry out a write, soon, and after those before it."""
        if not self._writes:
            self._loop.call_soon(self._pass_on)
        self._writes.append(write)

    def _pass_on(self) -> None:
        writes, self._writes = self._writes, []
        if writes:
            self._writer.write(writes)

    async def flushed(self) -> None:
        """Wait until all writes so far are safe."""
        await self._flushed()

    # The sessions

    def add(self, session: DurableSession) -> None:
        """Know a session that is in the process."""
        self._sessions[session.id] = session

    def __iter__(self) -> Iterator[DurableSession]:
        """Iterate over the durable sessions of the process; they may leave meanwhile."""
        return iter(list(self._sessions.values()))

    def find(self, session_id: str) -> DurableSession | None:
        """Return a durable session if it is in the process."""
        return self._sessions.get(session_id)

    def drop(self, session: DurableSession) -> None:
        """Know a session no longer that has left the process."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        self.residents.drop(session)
        self.room.drop(session)

    def header(self, session: DurableSession) -> Header:
        """Return what never changes in a session."""
        settings = session.settings
        return Header(
            session.model.cell.sha256,
            session.seed,
            settings.rewind_window,
            settings.stored() | {"model": session.model.name},
            self.clock(),
        )

    def keep_until(self, session: DurableSession) -> None:
        """Let the store know when a session expires, later if it has a client."""
        if not session.record.exists:
            return
        attached = session.attachment is not None
        expires_s = self.clock() + session.settings.idle_timeout_s
        session.expires_s = expires_s + (EXPIRY_MARGIN_S if attached else 0)
        self.write(KeepUntil(session.id, session.expires_s))
        self.residents.update(session)

    def supply(self, session: DurableSession, restore: Restore) -> None:
        """Read the checkpoint that a restore waits for, and let the session go on from it."""
        self._restoring.begin(session, restore)

    def delete(self, session_id: str, then: Callable[[], None] | None = None) -> None:
        """Let the store forget a session; call `then` when that is safe."""
        self.write(Delete(session_id))
        if then is not None:
            future = self._flushed(session_id)
            # If it fails, the session hears of it as one that is lost, or the daemon has ended.
            future.add_done_callback(lambda done: None if done.exception() else then())

    async def made_safe(self, session_id: str) -> None:
        """Wait until all that was written of a session is safe, its deletion included.

        Unavailable if that takes too long; why, if the store refuses it.
        """
        try:
            async with asyncio.timeout(SAFE_FIRST_TIMEOUT_S):
                await self._flushed(session_id)
        except TimeoutError:
            raise Unavailable(
                "the daemon's store does not answer; what was asked for is done, and becomes safe "
                "when the store works again"
            ) from None

    def _flushed(self, session_id: str | None = None) -> asyncio.Future[None]:
        """Return a future that is done when all writes so far, of a session or of all, are safe."""
        self._pass_on()
        return asyncio.wrap_future(self._writer.flush(session_id))

    def release(self, session_id: str) -> None:
        """Let other daemons have a session that has left the process, if there are others."""
        if self.leases is not None:
            self.write(Release(session_id))

    async def settled(self, session_id: str) -> None:
        """Wait until the store has what was written of a session; Unavailable if it takes too long.

        A session that was lost can be written again.
        """
        try:
            async with asyncio.timeout(SAFE_FIRST_TIMEOUT_S):
                with suppress(CellwireError):
                    await self._flushed(session_id)
        except TimeoutError:
            raise Unavailable(
                "the daemon's store does not answer; the session cannot come back from it"
            ) from None
        self._writer.take_up(session_id)

    async def has(self, session_id: str) -> bool:
        """Whether the store has a session, or a damaged one; StoreFailed, Unavailable."""
        await self.settled(session_id)
        try:
            await in_own_thread("look for a session", partial(self.store.head, session_id))
        except NotFound:
            return False
        except DamagedRecord:
            return True
        return True

    def expired(self, expires_s: float | None) -> bool:
        """Whether a stored session is kept no longer."""
        return expires_s is not None and expires_s <= self.clock()

    # What the writer says

    def note_safe(self, revisions: Mapping[str, int]) -> None:
        """Tell sessions up to which revisions they are safe."""
        for session_id, revision in revisions.items():
            session = self._sessions.get(session_id)
            if session is not None:
                session.note_safe(revision)
        self.room.look()

    def note_lost(self, session_id: str, error: CellwireError) -> None:
        """End a session here: the store takes nothing of it any more."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.refuse(error)

    def note_condition(self, error: StoreFailed | None) -> None:
        """Note why the store fails; None if it is well again."""
        self.failing = error
        self._note_health()

    def note_lease(self, error: StoreFailed | None) -> None:
        """Note why the daemon's lease cannot be renewed; None if it can again."""
        self._lease_failing = error
        self._note_health()

    @property
    def is_well(self) -> bool:
        """Whether the store works, as far as is known."""
        return self.failing is None and self._lease_failing is None

    def _note_health(self) -> None:
        self._on_health(self.is_well)
