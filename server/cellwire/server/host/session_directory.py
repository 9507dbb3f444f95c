"""All sessions of the daemon, by id, whether or not a call is attached to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, NotFound, Unavailable
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Settings, new_session_id
from cellwire.server.host.text_ends import TextEnds
from cellwire.server.host.text_memory import TextMemory
from cellwire.server.session.events import Event, Forked, Restored

MAX_ID_CHARS = 64
"""Longer ids are not looked for. Those that the daemon draws have 32."""


class SessionDirectory:
    """Creates, finds and ends sessions, and delivers the engines' events to them.

    A session's id is the only credential: any caller that knows it may use the session.
    """

    def __init__(self, registry: Registry, memory: TextMemory) -> None:
        self.registry = registry
        self.memory = memory
        self.draining = False
        self._sessions: dict[str, SessionHandle] = {}
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[SessionHandle]:
        """Iterate over the sessions there are now; they may end meanwhile."""
        return iter(list(self._sessions.values()))

    def open(
        self, model: ServedModel, seed: int, settings: Settings, *, operation_id: int = 0
    ) -> SessionHandle:
        """Create an empty session; its engine answers with Opened, or with Closed without room.

        Unavailable while draining; InvalidArgument if the model cannot follow the settings;
        ResourceExhausted if there is no memory for its text.
        """
        self.memory.check_room()
        settings = settings.fitted_to(model.vocabulary)
        session = self.add(new_session_id(), model, seed, settings)
        session.post(commands.OpenSession(session.id, operation_id, seed, settings.rewind_window))
        return session

    @asynccontextmanager
    async def open_for_one_call(
        self, model: ServedModel, seed: int, settings: Settings
    ) -> AsyncIterator[SessionHandle]:
        """Create an empty session that ends with the context; raises as `open`."""
        session = self.open(model, seed, settings)
        try:
            yield session
        finally:
            session.end()

    def add(
        self, session_id: str, model: ServedModel, seed: int, settings: Settings
    ) -> SessionHandle:
        """Add the handle of a session; Unavailable while draining.

        Add the handle before the engine creates the session, so that ending it always closes the
        session. Forks are the exception: the engine reports them when they exist.
        """
        if self.draining:
            raise Unavailable
        session = SessionHandle(session_id, model, seed, settings, self)
        self._sessions[session_id] = session
        return session

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

    def forget(self, session: SessionHandle) -> None:
        """Find this session no longer."""
        self._sessions.pop(session.id, None)
        self._note_drained()

    def deliver(self, source: EngineLoop, events: list[Event]) -> None:
        """Put each event into its session's outbox; add the sessions that were forked."""
        for event in events:
            session = self._sessions.get(event.session_id)
            if isinstance(event, Forked | Restored):
                if event.operation_id is None:
                    continue  # the call that created the session has its answer already
                if isinstance(event, Forked):
                    self._add_fork(event, session, source)
            if session is not None:
                session.receive(event)

    def _add_fork(self, fork: Forked, parent: SessionHandle | None, source: EngineLoop) -> None:
        """Add a forked session before its client hears of it; close it if no client will."""
        if parent is None or self.draining:
            source.post(commands.CloseSession(fork.new_session_id))
        else:
            new = self.add(fork.new_session_id, parent.model, fork.seed, parent.settings)
            new.text_ends = TextEnds(fork.text_end)
            new.text.set_length(fork.offset)
            new.wait_for_attach()

    def end_all_of(self, model: ServedModel, error: CellwireError) -> int:
        """End the sessions of a model, and their calls with `error`; return their number."""
        sessions = [session for session in self if session.model is model]
        for session in sessions:
            session.end(error)
        return len(sessions)

    def drain(self) -> None:
        """Refuse new sessions, and end those that no call is attached to."""
        self.draining = True
        for session in self:
            if session.expiry.running:
                session.end()
        self._note_drained()

    async def drained(self) -> None:
        """Wait until every session has ended; only after `drain`."""
        await self._drained.wait()

    def cut(self) -> None:
        """End every session that is left, with UNAVAILABLE."""
        for session in self:
            session.end(Unavailable())

    def _note_drained(self) -> None:
        if self.draining and not self._sessions:
            self._drained.set()
