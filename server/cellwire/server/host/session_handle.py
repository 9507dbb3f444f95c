"""A session of an engine, as the event loop's side holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from cellwire.server.engine import commands
from cellwire.server.errors import Aborted, CellwireError, FailedPrecondition
from cellwire.server.host.outbox import Outbox
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.settings import Settings
from cellwire.server.rpc.models import model_message
from cellwire.server.session.events import Closed, Event, Written
from cellwire.server.session.operations import Operation
from cellwire.server.state.text_history import REMEMBERED
from cellwire.v1 import operations_pb2
from cellwire.v1.operations_pb2 import OnDisconnect


class Attachment(Protocol):
    """A call that reads a session's events."""

    def abort_stream(self, error: CellwireError) -> None:
        """End with the status of an error, whatever there is still to write."""


class Home(Protocol):
    """Where sessions are found by their ids."""

    @property
    def draining(self) -> bool:
        """Whether no session may stay that nobody is attached to."""

    def forget(self, live: SessionHandle) -> None:
        """Let a session not be found any more."""


class SessionHandle:
    """What a stream or a unary call does to its session; every method only leaves word of it."""

    def __init__(
        self,
        session_id: str,
        model: ServedModel,
        seed: int,
        settings: Settings,
        home: Home,
    ) -> None:
        self.id = session_id
        self.model = model
        self.seed = seed
        self.settings = settings
        self.holder: Attachment | None = None
        self.outbox = Outbox()
        self._home = home
        self._expiry: asyncio.TimerHandle | None = None
        self._gone = False

    @property
    def opened(self) -> operations_pb2.Opened:
        """The answer to Open."""
        return operations_pb2.Opened(
            session_id=self.id, model=model_message(self.model), seed=self.seed
        )

    @property
    def waits_for_a_holder(self) -> bool:
        """Whether it will end of itself unless somebody attaches."""
        return self._expiry is not None

    async def events(self) -> list[Event]:
        """Wait for events, and take all there are."""
        while not self.outbox.unread:
            await self.outbox.more()
        return self.outbox.take()

    def submit(self, operation: Operation) -> None:
        """Let the session carry out an operation after those before it."""
        self.post(commands.SubmitOperation(self.id, operation))

    def finish(self) -> None:
        """Let go of the session after the operations it has; it ends unless it is to be kept."""
        kept = self.settings.on_disconnect != OnDisconnect.ON_DISCONNECT_UNSPECIFIED
        keep = kept and not self._home.draining
        self.post(commands.FinishSession(self.id, keep))

    def cancel(self, operation_id: int, target: int) -> None:
        """End an operation."""
        self.post(commands.CancelOperation(self.id, operation_id, target))

    def grant_again(self, written: Sequence[Written]) -> None:
        """Let the session generate as much more as has been written to the client."""
        self._grant(sum(len(event.tokens) for event in written))

    def _grant(self, tokens: int) -> None:
        self.post(commands.GrantTokens(self.id, tokens))

    def post(self, command: commands.Command) -> None:
        """Let the engine's thread carry out a command."""
        self.model.loop.post(command)

    def take(self, holder: Attachment, *, takeover: bool = False) -> bool:
        """Make a call the one that reads the session; WrongState if it has one already.

        True if it was taken from another.
        """
        evicted = self.holder
        if evicted is not None:
            if not takeover:
                raise FailedPrecondition(
                    "another stream is attached to the session; takeover takes it"
                )
            evicted.abort_stream(Aborted("another stream has taken the session over"))
        self.holder = holder
        self.outbox.keep_text()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        return evicted is not None

    def detach(self, holder: Attachment, *, broken: bool) -> None:
        """Leave the session to whoever attaches next, as its open said for a broken stream."""
        if self._gone or self.holder is not holder:
            return
        self.holder = None
        if broken and not self._survives():
            self.end()
            return
        self.outbox.drop_text()
        self.expire_later()

    def _survives(self) -> bool:
        """Do what is to be done when a stream breaks; False if the session is to end."""
        match self.settings.on_disconnect:
            case OnDisconnect.ON_DISCONNECT_STOP:
                self.post(commands.CancelAll(self.id))
            case OnDisconnect.ON_DISCONNECT_PAUSE:
                self.post(commands.HoldSession(self.id))
            case OnDisconnect.ON_DISCONNECT_CONTINUE:
                self._grant(REMEMBERED)
            case _:
                return False
        return True

    def expire_later(self) -> None:
        """End the session after its idle timeout, unless somebody takes it."""
        if self._gone:  # a timer would keep it, and its model, for nothing
            return
        if self._home.draining:
            self.end()
            return
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self.settings.idle_timeout_s, self.end)

    def end(self, error: CellwireError | None = None) -> None:
        """Close the session at once, and forget it; a call that reads it hears why."""
        self.post(commands.CloseSession(self.id))
        if error is not None:
            self.outbox.put(Closed(self.id, None, error))
        self.mark_closed()

    def mark_closed(self) -> None:
        """Forget the session: its engine has closed it."""
        self._gone = True
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._home.forget(self)
