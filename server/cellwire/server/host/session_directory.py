"""All sessions of the daemon, by id, whether or not a call is attached to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from cellwire.server.engine import commands
from cellwire.server.errors import (
    AlreadyExists,
    CellwireError,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Settings, new_session_id
from cellwire.server.host.stored_access import StoredAccess
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.text_memory import TextMemory
from cellwire.server.session.events import Closed, Event, Forked, Rejected, Restored

MAX_ID_CHARS = 64
"""Longer ids are not looked for. Those that the daemon draws have 32."""


class SessionDirectory:
    """Creates, finds and ends sessions, and delivers the engines' events to them.

    A session's id is the only credential: any caller that knows it may use the session.
    """

    def __init__(
        self, registry: Registry, memory: TextMemory, stored: StoredSessions | None = None
    ) -> None:
        """Without `stored`, no session can be durable."""
        self.registry = registry
        self.memory = memory
        self.stored = stored
        self.draining = False
        self.access = StoredAccess(stored, self) if stored is not None else None
        self._sessions: dict[str, SessionHandle] = {}
        # The sessions that were forgotten while their engines go on reporting of them.
        self._ending: set[tuple[EngineLoop, str]] = set()
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[SessionHandle]:
        """Iterate over the sessions there are now; they may end meanwhile."""
        return iter(list(self._sessions.values()))

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    def open(
        self,
        session_id: str,
        model: ServedModel,
        seed: int,
        settings: Settings,
        *,
        operation_id: int = 0,
    ) -> SessionHandle:
        """Create an empty session; its engine answers with Opened, or with Closed without room.

        Unavailable while draining; InvalidArgument if the model cannot follow the settings;
        ResourceExhausted if there is no memory for its text.
        """
        self.check_room(settings)
        settings = settings.fitted_to(model.vocabulary)
        session = self.add(session_id, model, seed, settings)
        session.post(commands.OpenSession(session.id, operation_id, seed, settings.rewind_window))
        return session

    @asynccontextmanager
    async def open_for_one_call(
        self, model: ServedModel, seed: int, settings: Settings
    ) -> AsyncIterator[SessionHandle]:
        """Create an empty session that ends with the context; raises as `open`."""
        session = self.open(new_session_id(), model, seed, settings)
        try:
            yield session
        finally:
            session.end()

    def add(
        self, session_id: str, model: ServedModel, seed: int, settings: Settings
    ) -> SessionHandle:
        """Add the handle of a session; Unavailable while draining.

        AlreadyExists if there is one of this id; FailedPrecondition if it is to be durable, and
        there is no store.

        Add the handle before the engine creates the session, so that ending it always closes the
        session. Forks are the exception: the engine reports them when they exist.
        """
        if self.draining:
            raise Unavailable
        if session_id in self._sessions:
            raise _exists(session_id)
        session = self._new_handle(session_id, model, seed, settings)
        self._sessions[session_id] = session
        return session

    def _new_handle(
        self, session_id: str, model: ServedModel, seed: int, settings: Settings
    ) -> SessionHandle:
        if not settings.durable:
            return SessionHandle(session_id, model, seed, settings, self)
        if self.stored is None:
            raise FailedPrecondition(
                "this daemon has no store for durable sessions; start it with "
                "`cellwire serve --state DIR`"
            )
        session = DurableSession(session_id, model, seed, settings, self, self.stored)
        self.stored.add(session)
        return session

    def check_room(self, settings: Settings, text_bytes: int = 0) -> None:
        """Raise ResourceExhausted if there is no room for a new session with such a text."""
        self.memory.check_room(text_bytes)
        if settings.durable and self.stored is not None:
            self.stored.room.check()

    async def check_new(self, session_id: str) -> None:
        """Raise AlreadyExists if there is a session of this id, here or in the store."""
        if session_id in self._sessions or (
            self.stored is not None and await self.stored.has(session_id)
        ):
            raise _exists(session_id)

    async def reach(self, session_id: str, *, takeover: bool = False) -> SessionHandle:
        """Return a session, which wakes if it is only in the store; NotFound, as `find`.

        It stays as it is until the caller waits for something else. A `takeover` takes it from its
        client, if that is at another daemon; otherwise that is FailedPrecondition.
        """
        possible = len(session_id) <= MAX_ID_CHARS and not self.draining
        if self.access is not None and possible:
            await self.access.bring(session_id, takeover=takeover)
        return self.find(session_id)

    def find(self, session_id: str) -> SessionHandle:
        """Return a session; NotFound, or Unavailable while draining."""
        if self.draining:
            raise Unavailable
        if len(session_id) > MAX_ID_CHARS:
            raise NotFound(
                f"there is no session {session_id[:MAX_ID_CHARS]!r}...: ids have "
                f"{MAX_ID_CHARS} characters at most, and this one {len(session_id):,}"
            )
        if session_id not in self._sessions:
            raise NotFound(f"there is no session {session_id!r}; it may have ended meanwhile")
        return self._sessions[session_id]

    async def delete(self, session_id: str, error: CellwireError) -> None:
        """Delete a session, here or in the store; NotFound. An attached call ends with `error`.

        Returns when the deletion is safe; raises as `StoredSessions.made_safe` if it is not.
        """
        away = False
        if self.access is not None and not self.draining:
            await self.access.sure(session_id)
            away = session_id not in self._sessions and await self.access.deletion.delete(
                session_id
            )
        if not away:
            self.find(session_id).end(error)
        if self.stored is not None:
            await self.stored.made_safe(session_id)

    def forget(self, session: SessionHandle) -> None:
        """Find this session no longer."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
            if session.in_engine:
                self._ending.add((session.model.loop, session.id))
        self._note_drained()

    def deliver(self, source: EngineLoop, events: list[Event]) -> None:
        """Put each event into its session's outbox; add the sessions that were forked."""
        for event in events:
            session = self._sessions.get(event.session_id)
            if self._ending and (source, event.session_id) in self._ending:
                session = None  # a session of the same id is another one
                if isinstance(event, Closed):
                    self._ending.discard((source, event.session_id))
            if isinstance(event, Forked | Restored) and event.operation_id is None:
                continue  # the call that created the session has its answer already
            told = self._add_fork(event, session, source) if isinstance(event, Forked) else event
            if session is not None:
                session.receive(told)

    def _add_fork(
        self, fork: Forked, parent: SessionHandle | None, source: EngineLoop
    ) -> Forked | Rejected:
        """Add a forked session before its client hears of it, and return what it is to hear.

        While draining, the copy leaves at once, and is stored if it is durable.
        """
        new_id = fork.new_session_id
        other = self._sessions.get(new_id)
        if parent is None or other is not None:
            source.post(commands.CloseSession(new_id))
            if other is None or other.model.loop is not source:
                self._ending.add((source, new_id))
            return Rejected(fork.session_id, fork.operation_id or 0, _exists(new_id))
        new = self._new_handle(new_id, parent.model, fork.seed, parent.settings)
        self._sessions[new_id] = new
        if isinstance(new, DurableSession) and fork.snapshot is not None:
            new.store_from(fork.snapshot)
        new.begin_from(fork.text_end, fork.offset)
        return fork

    def end_all_of(self, model: ServedModel, error: CellwireError) -> int:
        """End the sessions of a model, and their calls with `error`; return their number."""
        sessions = [session for session in self if session.model is model]
        for session in sessions:
            session.leave(error)
        return len(sessions)

    def drain(self) -> None:
        """Refuse new sessions, and let those leave that no call is attached to."""
        self.draining = True
        for session in self:
            if session.expiry.running:
                session.leave()
        self._note_drained()

    async def drained(self) -> None:
        """Wait until every session has ended, or is safe; only after `drain`."""
        await self._drained.wait()

    def cut(self) -> None:
        """Let every session leave that is left, with UNAVAILABLE."""
        for session in self:
            session.leave(Unavailable())

    def _note_drained(self) -> None:
        if self.draining and not self._sessions:
            self._drained.set()


def _exists(session_id: str) -> AlreadyExists:
    return AlreadyExists(f"there is a session {session_id!r} already; attach to it")
