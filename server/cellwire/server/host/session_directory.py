"""All sessions of the daemon, attached or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, NotFound, Unavailable
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Settings, new_session_id, seed_of, settings_of
from cellwire.server.session.events import Event, Forked
from cellwire.v1 import operations_pb2

_SHUTTING_DOWN = "the daemon is shutting down"


class SessionDirectory:
    """Sessions by id. Whoever knows an id may use it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._sessions: dict[str, SessionHandle] = {}
        self.draining = False
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, operation_id: int, message: operations_pb2.Open) -> SessionHandle:
        """Start a session; its engine answers with Opened, or Closed if it is full.

        Draining, NotFound for the model, InvalidRequest.
        """
        model = self.registry.find(message.model)
        settings = settings_of(message, model.vocabulary)
        live = self.adopt(new_session_id(), model, seed_of(message), settings)
        window = settings.rewind_window
        live.post(commands.OpenSession(live.id, operation_id, live.seed, window))
        return live

    def adopt(
        self, session_id: str, model: ServedModel, seed: int, settings: Settings
    ) -> SessionHandle:
        """Take in a session that its engine has, or is asked for next; Draining.

        Next, so that whatever ends the record closes the session after it was made.
        """
        if self.draining:
            raise Unavailable(_SHUTTING_DOWN)
        live = SessionHandle(session_id, model, seed, settings, self)
        self._sessions[session_id] = live
        return live

    def deliver(self, source: EngineLoop, events: list[Event]) -> None:
        """Leave each event with its session; what they forked become sessions."""
        for event in events:
            live = self._sessions.get(event.session_id)
            if isinstance(event, Forked):
                self._adopt_fork(event, live, source)
            if live is not None:
                live.outbox.put(event)

    def _adopt_fork(self, fork: Forked, parent: SessionHandle | None, source: EngineLoop) -> None:
        """Keep what a fork made, before its client hears of it; close it if nobody will."""
        if parent is None or self.draining:
            source.post(commands.CloseSession(fork.new_session_id))
        else:
            new = self.adopt(fork.new_session_id, parent.model, fork.seed, parent.settings)
            new.expire_later()

    def forget(self, live: SessionHandle) -> None:
        """Let a session not be found any more."""
        self._sessions.pop(live.id, None)
        self._note_drained()

    def find(self, session_id: str) -> SessionHandle:
        """Return the session of that id; NotFound, or Draining."""
        if self.draining:
            raise Unavailable(_SHUTTING_DOWN)
        if session_id not in self._sessions:
            raise NotFound(f"there is no session {session_id!r}; it may have ended meanwhile")
        return self._sessions[session_id]

    @asynccontextmanager
    async def for_one_call(self, message: operations_pb2.Open) -> AsyncIterator[SessionHandle]:
        """Open a session that ends with the context."""
        live = self.open(0, message)
        try:
            yield live
        finally:
            live.end()

    def end_all_of(self, model: ServedModel, error: CellwireError) -> int:
        """End the sessions of a model, telling their calls why; return how many there were."""
        sessions = [live for live in self._sessions.values() if live.model is model]
        for live in sessions:
            live.end(error)
        return len(sessions)

    def drain(self) -> None:
        """Take no more sessions, and end those that nobody is attached to."""
        self.draining = True
        for live in list(self._sessions.values()):
            if live.waits_for_a_holder:
                live.end()
        self._note_drained()

    async def drained(self) -> None:
        """Wait until every session there was when draining began has ended."""
        await self._drained.wait()

    def cut(self) -> None:
        """End every session that is left, with UNAVAILABLE."""
        for live in list(self._sessions.values()):
            live.end(Unavailable(_SHUTTING_DOWN))

    def _note_drained(self) -> None:
        if self.draining and not self._sessions:
            self._drained.set()
