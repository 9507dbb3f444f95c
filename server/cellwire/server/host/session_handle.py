"""The event loop's side of a session: the call attached to it, its expiry, and its outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cellwire.model_file.text_end import TextEnd
from cellwire.server.batch.limits import REMEMBERED_TOKENS
from cellwire.server.engine import commands
from cellwire.server.errors import Aborted, CellwireError, FailedPrecondition
from cellwire.server.host.expiry import Expiry
from cellwire.server.host.outbox import Outbox
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.safe_revisions import SafePoint
from cellwire.server.host.settings import OnDisconnect, Settings
from cellwire.server.host.text_ends import TextEnds
from cellwire.server.host.text_memory import SessionText, TextMemory
from cellwire.server.session.events import Closed, Event, Written
from cellwire.server.session.operations import Operation

HAS_A_CLIENT = "another stream is attached to the session; takeover takes it"


class Attachment(Protocol):
    """The call that is attached to a session and reads its events."""

    def abort(self, error: CellwireError) -> None:
        """End the call with the status of an error, even if events are left to write."""


class Directory(Protocol):
    """Finds sessions by their ids."""

    @property
    def memory(self) -> TextMemory:
        """The memory for the texts of all sessions."""

    @property
    def draining(self) -> bool:
        """Whether a session ends as soon as no call is attached to it."""

    async def check_new(self, session_id: str) -> None:
        """Raise AlreadyExists if there is a session of this id."""

    def forget(self, session: SessionHandle) -> None:
        """Find this session no longer."""


class SessionHandle:
    """Passes a call's operations on to a session, and keeps the session's events for the call.

    At most one call is attached at a time. While none is, `expiry` runs. Used in the event loop
    only; no method waits for the engine, except `events`.
    """

    def __init__(
        self,
        session_id: str,
        model: ServedModel,
        seed: int,
        settings: Settings,
        directory: Directory,
    ) -> None:
        self.id = session_id
        self.model = model
        self.seed = seed
        self.settings = settings
        self.attachment: Attachment | None = None
        self.outbox = Outbox()
        self.expiry = Expiry()
        self.text_ends = TextEnds()
        self.text = SessionText(directory.memory, len(model.vocabulary))
        self.in_engine = True  # until its engine has reported its end
        self._directory = directory
        self._closed = False

    def begin_from(self, text_end: TextEnd, length: int) -> None:
        """Wait for a call to attach: the session was made with a text of this length and end."""
        self.text_ends = TextEnds(text_end)
        self.text.set_length(length)
        self.wait_for_attach()

    @property
    def revision(self) -> int:
        """The number of changes of its text; 0 if it is not durable."""
        return 0

    @property
    def safe_point(self) -> SafePoint | None:
        """How much of it is in the store; None if nothing is."""
        return None

    @property
    def draining(self) -> bool:
        """Whether the daemon is shutting down."""
        return self._directory.draining

    def receive(self, event: Event) -> None:
        """Take an event of the session from its engine."""
        # There is a Written for every run; its text is counted once it is written to the client.
        if not isinstance(event, Written):
            self.follow(event)
        self.outbox.put(event)

    def follow(self, event: Event) -> None:
        """Note what an event other than Written says of the session."""
        self.text_ends.correct(event)
        self.text.receive(event)
        if isinstance(event, Closed):
            self.in_engine = False

    async def events(self) -> list[Event]:
        """Wait for events, and take all there are."""
        while not self.outbox.unread:
            await self.outbox.more()
        return self.outbox.take()

    async def check_new(self, session_id: str) -> None:
        """Raise AlreadyExists if there is a session of this id."""
        await self._directory.check_new(session_id)

    def submit(self, operation: Operation) -> None:
        """Queue an operation behind those the session has; ResourceExhausted."""
        self.text.submit(operation)
        self.text_ends.follow(operation)
        self.post(commands.SubmitOperation(self.id, operation))

    def cancel(self, operation_id: int, target: int) -> None:
        """End the operation `target` early; `operation_id` is that of the cancel."""
        self.post(commands.CancelOperation(self.id, operation_id, target))

    def finish(self) -> None:
        """Finish the session's operations, then keep it or delete it as its settings say.

        While the daemon drains, no session is kept.
        """
        keep = self.settings.on_disconnect is not OnDisconnect.DELETE and not self.draining
        self.post(commands.FinishSession(self.id, keep))

    def grant_again(self, written: Sequence[Written]) -> None:
        """Let the session generate as many more tokens as have been written to the client."""
        tokens = sum(len(event.tokens) for event in written)
        self.text.set_length(written[-1].offset + len(written[-1].tokens))
        self.grant(tokens)

    def grant(self, tokens: int) -> None:
        """Let the session generate so many more tokens."""
        self.post(commands.GrantTokens(self.id, tokens))

    def post(self, command: commands.Command) -> None:
        """Queue a command for the engine's thread."""
        self.model.loop.post(command)

    def attach(self, attachment: Attachment, *, takeover: bool = False) -> bool:
        """Attach a call; FailedPrecondition if another is attached, unless it is taken over.

        True if another call was attached; it is aborted.
        """
        evicted = self.attachment
        if evicted is not None:
            if not takeover:
                raise FailedPrecondition(HAS_A_CLIENT)
            evicted.abort(taken_over())
        self.attachment = attachment
        self.outbox.keep_text()
        self.expiry.stop()
        return evicted is not None

    def detach(self, attachment: Attachment, *, broken: bool) -> None:
        """Leave the session without a call; if `broken`, as its `on_disconnect` says.

        No effect after the session was closed, or taken over by another call.
        """
        if self._closed or self.attachment is not attachment:
            return
        self.attachment = None
        if broken:
            self._disconnect()
        if not self._closed:
            self.outbox.drop_text()
            self.wait_for_attach()

    def _disconnect(self) -> None:
        match self.settings.on_disconnect:
            case OnDisconnect.DELETE:
                self.end()
            case OnDisconnect.CANCEL:
                self.post(commands.CancelAll(self.id))
            case OnDisconnect.PAUSE:
                self.post(commands.HoldSession(self.id))
            case OnDisconnect.CONTINUE:
                self.grant(REMEMBERED_TOKENS)

    def wait_for_attach(self) -> None:
        """Keep the session for its idle timeout, or until a call attaches; not while draining."""
        if self._closed:  # a timer would keep it and its model in memory
            return
        if self.draining:
            self.leave()
        else:
            self.expiry.start(self.settings.idle_timeout_s, self.end)

    def end(self, error: CellwireError | None = None) -> None:
        """Close the session at once, whatever it is doing; an attached call ends with `error`."""
        self.post(commands.CloseSession(self.id))
        if error is not None:
            self.outbox.put(Closed(self.id, None, error))
        self.mark_closed()

    def leave(self, error: CellwireError | None = None) -> None:
        """Leave the process, with which a session ends that is not durable; as `end`."""
        self.end(error)

    def mark_closed(self) -> None:
        """Forget the session: its engine has closed it, or is about to."""
        if not self._closed:
            self.text.close()
        self._closed = True
        self.attachment = None  # the call and its handle would keep each other in memory
        self.expiry.stop()
        self._directory.forget(self)


def taken_over() -> Aborted:
    """Return the error of a stream whose session another stream has taken."""
    return Aborted("another stream has taken the session over")
