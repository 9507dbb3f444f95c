"""Sessions that are only in the store, on their way back into the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from cellwire.server.batch.limits import REMEMBERED_TOKENS, SAFE_FIRST_TIMEOUT_S
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import (
    CellwireError,
    DamagedRecord,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.claiming import Claiming
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Settings
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.text_memory import TextMemory
from cellwire.server.host.turns import Turns
from cellwire.server.session.change_log import ChangeLog
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.stored_session import Header, StoredSession

_MOST_LOADING = 8  # sessions, each in a thread


class Directory(Protocol):
    """Has the sessions of the process."""

    @property
    def registry(self) -> Registry:
        """The models that are served."""

    @property
    def memory(self) -> TextMemory:
        """The memory for the texts of all sessions."""

    def __contains__(self, session_id: str) -> bool:
        """Whether a session is in the process."""

    def add(
        self, session_id: str, model: ServedModel, seed: int, settings: Settings
    ) -> SessionHandle:
        """Add the handle of a session."""


class Waking:
    """Wakes sessions: each once, however many callers ask for it at the same time."""

    def __init__(
        self,
        stored: StoredSessions,
        sessions: Directory,
        turns: Turns,
        claiming: Claiming | None = None,
    ) -> None:
        """Without `claiming`, no other daemon uses the store."""
        self._stored = stored
        self._sessions = sessions
        self._turns = turns
        self._claiming = claiming
        self._takeovers = Counter[str]()  # callers on their way who take a session over
        self._loading = asyncio.Semaphore(_MOST_LOADING)

    async def bring(self, session_id: str, *, takeover: bool = False) -> None:
        """Return when a session is in the process, if there is one of this id.

        It stays there until the caller has had the time to attach to it. A `takeover` takes it from
        its client at another daemon. DamagedRecord, StoreFailed; FailedPrecondition if its model is
        not served, or it has a client elsewhere; ResourceExhausted without room; Unavailable if
        the store does not answer, or another daemon does not hand it over.
        """
        with self._stored.residents.kept(session_id), self._wanted(session_id, takeover=takeover):
            while (task := self._next_step(session_id)) is not None:
                try:
                    async with asyncio.timeout(SAFE_FIRST_TIMEOUT_S):
                        await asyncio.shield(task)
                except NotFound:
                    return
                except TimeoutError:
                    raise Unavailable(
                        "the daemon's store does not answer; the session cannot come back from it"
                    ) from None

    @contextmanager
    def _wanted(self, session_id: str, *, takeover: bool) -> Iterator[None]:
        self._takeovers[session_id] += takeover
        try:
            yield
        finally:
            self._takeovers[session_id] -= takeover
            if not self._takeovers[session_id]:
                del self._takeovers[session_id]

    def _next_step(self, session_id: str) -> asyncio.Future[None] | None:
        """Return what must be waited for before a session is there; None if that is nothing."""
        session = self._stored.find(session_id)
        if (busy := self._turns.of(session_id)) is not None:
            return busy
        if session is not None:
            return session.left
        if session_id in self._sessions:
            return None
        return self._turns.begin(session_id, self._wake(session_id))

    async def _wake(self, session_id: str) -> None:
        await self._stored.settled(session_id)
        lapses = self._lapses
        if self._claiming is not None:
            await self._claiming.claim(session_id, lambda: self._takeovers[session_id] > 0)
        try:
            stored = await self._load(session_id)
            self._check_lease(lapses)
            session, snapshot = self._begin(session_id, stored)
        except NotFound:
            raise
        except BaseException:
            self._stored.release(session_id)
            raise
        try:
            restore = partial(_restore, session_id=session_id, snapshot=snapshot)
            await call_engine(session.model, restore)
        except CellwireError:
            session.in_engine = False
            session.leave()
            raise

    def _check_lease(self, lapses: int) -> None:
        """Raise Unavailable if a session that was claimed may have gone on elsewhere since."""
        if self._lapses != lapses:
            raise Unavailable("this daemon has lost its lease for a moment; try again")

    @property
    def _lapses(self) -> int:
        return self._claiming.lapses if self._claiming is not None else 0

    def _begin(
        self, session_id: str, stored: StoredSession
    ) -> tuple[DurableSession, SessionSnapshot]:
        """Add the session's handle, and return what its engine begins with."""
        header = stored.head.header
        model = self._sessions.registry.find_file(header.model_sha256)
        settings = _settings_of(session_id, header)
        snapshot = _snapshot_of(session_id, stored)
        self._sessions.memory.check_room(len(snapshot.token_bytes))
        session = self._sessions.add(session_id, model, header.seed, settings)
        assert isinstance(session, DurableSession)
        changes = ChangeLog.resumed(snapshot, stored.head.revision, stored.done, stored.checkpoints)
        session.go_on_from(snapshot, changes)
        return session, snapshot

    async def _load(self, session_id: str) -> StoredSession:
        """Return what is stored of a session; NotFound, also if it has expired or was deleted."""
        load = partial(self._stored.store.load, session_id, REMEMBERED_TOKENS)
        async with self._loading:
            stored = await in_own_thread("wake a session", load)
        if self._stored.expired(stored.head.expires_s):
            self._stored.delete(session_id)
            raise NotFound(f"the session {session_id!r} has expired")
        return stored


def _restore(engine: Engine, session_id: str, snapshot: SessionSnapshot) -> None:
    engine.restore(session_id, snapshot)


def _settings_of(session_id: str, header: Header) -> Settings:
    try:
        return Settings.restored(header.settings, header.rewind_window)
    except InvalidArgument as error:
        raise _damaged(session_id, error) from error


def _snapshot_of(session_id: str, stored: StoredSession) -> SessionSnapshot:
    try:
        return resumed(stored)
    except InvalidArgument as error:
        raise _damaged(session_id, error) from error


def _damaged(session_id: str, error: InvalidArgument) -> DamagedRecord:
    return DamagedRecord(
        f"what is stored of the session {session_id!r} cannot be used: {error}",
        session_id=session_id,
    )
