"""The event loop's side of a durable session: what waits until it is safe, and how it leaves."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable

from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, Unavailable
from cellwire.server.host.answer_gate import AnswerGate
from cellwire.server.host.checkpoint_ends import CheckpointEnds
from cellwire.server.host.keeper import Keeper
from cellwire.server.host.leaving import Leaving
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.safe_revisions import SafePoint
from cellwire.server.host.safety_news import SafetyNews
from cellwire.server.host.session_handle import Attachment, Directory, SessionHandle
from cellwire.server.host.session_record import SessionRecord
from cellwire.server.host.settings import Durability, OnDisconnect, Settings
from cellwire.server.session.change_log import ChangeLog
from cellwire.server.session.events import (
    Closed,
    Event,
    Forked,
    Opened,
    SafeAdvanced,
    SnapshotNeeded,
    StateRead,
    Written,
)
from cellwire.server.session.operations import Accept, Append, Fork, Generate, Operation
from cellwire.server.state.change import StateRecord
from cellwire.server.state.snapshot import SessionSnapshot


class DurableSession(SessionHandle):
    """A session that is kept in a store as it goes on.

    Its client, DeleteSession and its expiry delete it. Whatever else ends other sessions makes it
    leave the process: its engine closes it, and its handle goes when all of it is safe.
    """

    def __init__(
        self,
        session_id: str,
        model: ServedModel,
        seed: int,
        settings: Settings,
        directory: Directory,
        keeper: Keeper,
    ) -> None:
        super().__init__(session_id, model, seed, settings, directory)
        self.record = SessionRecord(
            session_id,
            settings.rewind_window,
            keeper.write,
            lambda: self.post(commands.ReadState(session_id)),
        )
        self.gate = AnswerGate(
            self.record.safe,
            self.outbox.put,
            self._fail_waiting,
            all_wait=settings.durability is Durability.SAFE_FIRST,
        )
        self.news = SafetyNews(self.record.safe, self._tell_safe)
        self.parents_gate: AnswerGate | None = None  # in which an answer waits for this session
        self.expires_s: float | None = None  # wall clock, as the store knows it
        self._ends = CheckpointEnds()
        self._keeper = keeper
        self._leaving = Leaving()

    def go_on_from(self, snapshot: SessionSnapshot, changes: ChangeLog) -> None:
        """Follow the session, which wakes: all of it is safe."""
        self.record.resume(snapshot, changes)
        self._ends = CheckpointEnds(changes.checkpoints.values())
        self.begin_from(snapshot.text_end, snapshot.length)

    def store_from(self, snapshot: SessionSnapshot, earlier: array[int] | None = None) -> None:
        """Store the session, which a fork or an import has made; `begin_from` follows."""
        self.record.create_from(self._keeper.header(self), snapshot, earlier)

    def receive(self, event: Event) -> None:
        """Take an event of the session from its engine, and store what it changes."""
        match event:
            case StateRead():
                self.record.put_state(StateRecord(event.tokens_read, event.state))
                return
            case SnapshotNeeded():
                self._keeper.supply(self, event.operation)
                return
            case Opened():
                self.record.create(self._keeper.header(self))
                self._keeper.keep_until(self)
            case _:
                event = self.record.follow(event)
        copy = None
        if not isinstance(event, Written):
            self.follow(event)
            self._ends.correct(event, self.record.changes.checkpoints)
            copy = self._copy_in(event)
        if isinstance(event, Closed):
            self._note_closed(event)
        else:
            self.gate.put(event, self.revision, copy.record.safe if copy else None)

    def _copy_in(self, event: Event) -> DurableSession | None:
        """Return the fork that an event reports; when it is safe, so is the report."""
        copy = self._keeper.find(event.new_session_id) if isinstance(event, Forked) else None
        if copy is not None:
            copy.parents_gate = self.gate
        return copy

    @property
    def revision(self) -> int:
        """The number of changes of its text."""
        return self.record.changes.revision

    @property
    def safe_point(self) -> SafePoint | None:
        """How much of it is in the store; None if nothing is."""
        return self.record.safe.point

    def note_safe(self, revision: int) -> None:
        """Let go what has waited until a revision is in the store."""
        self.record.safe.advance(revision)
        self.gate.open()
        if self.parents_gate is not None:
            self.parents_gate.open()
        if self.attachment is not None:
            self.news.tell_soon()
        self._leave_if_safe()

    def _tell_safe(self) -> None:
        if self.attachment is not None:
            self.outbox.put(SafeAdvanced(self.id))

    def abandon(self) -> None:
        """Forget the session although not all of it is safe: the daemon ends."""
        self.record.exists = False
        self.mark_closed()

    def refuse(self, error: CellwireError) -> None:
        """End the session here: the store takes nothing of it any more."""
        self.record.exists = False
        if self.parents_gate is not None:
            self.parents_gate.reject_copy(self.record.safe, error)
        super().end(error)

    def _fail_waiting(self) -> None:
        """Let no client wait any longer for the store."""
        error = Unavailable(
            "the daemon's store does not answer, so that nothing becomes safe; the session goes on"
        )
        if self.gate.only_saves_wait:
            self.gate.reject_saves(error)
        elif self.attachment is not None:
            self.attachment.abort(error)

    def submit(self, operation: Operation) -> None:
        """Queue an operation; ResourceExhausted also if the store takes no more text."""
        if isinstance(operation, Append | Accept | Generate | Fork):
            self._keeper.room.check()
        super().submit(self._ends.assume(operation, self.text_ends.text_end))

    def grant(self, tokens: int) -> None:
        """Let the session generate more tokens, as soon as the store has room for them."""
        self._keeper.room.grant(self, tokens)

    def attach(self, attachment: Attachment, *, takeover: bool = False) -> bool:
        """Attach a call, as to any session."""
        taken_over = super().attach(attachment, takeover=takeover)
        self._keeper.room.drop(self)  # its engine grants it anew what its client may have
        self._keeper.keep_until(self)
        self.gate.wait_anew()
        return taken_over

    def finish(self) -> None:
        """Finish the session's operations, then keep it or delete it; while draining, keep it."""
        keep = self.settings.on_disconnect is not OnDisconnect.DELETE or self.draining
        self.post(commands.FinishSession(self.id, keep))

    def wait_for_attach(self) -> None:
        """Keep the session for its idle timeout; while draining, leave."""
        super().wait_for_attach()
        if self.expiry.running:
            self._keeper.keep_until(self)

    # How it ends

    @property
    def leaving(self) -> bool:
        """Whether nothing may attach to it any more: it wakes again when it has left."""
        return self._leaving.begun

    @property
    def left(self) -> asyncio.Future[None] | None:
        """Done when the session has left the process, or stays; None unless it is leaving."""
        return self._leaving.ended

    def end(self, error: CellwireError | None = None) -> None:
        """Delete the session, in the store as well; an attached call ends with `error`."""
        self._delete()
        super().end(error)

    def leave(self, error: CellwireError | None = None) -> None:
        """Leave the process; the store keeps the session. An attached call ends with `error`."""
        if self._closed or self.leaving:
            return
        self.attachment = None
        if not self.expiry.running:  # it had a client until now
            self._keeper.keep_until(self)
        self.begin_to_leave()
        self.post(commands.CloseSession(self.id))
        if error is not None:
            self.outbox.put(Closed(self.id, None, error))
        self._leave_if_safe()

    def begin_to_leave(self) -> None:
        """Let nothing attach until the session has left."""
        self._leaving.begin()
        self.record.read_state_to_leave()

    def stay(self) -> None:
        """Do not leave after all."""
        self._leaving.stay()

    def _note_closed(self, event: Closed) -> None:
        revision = self.revision
        if not self.leaving and self.record.exists:
            if event.error is None:
                self._delete(self._note_deleted)
                revision += 1  # as which its deletion counts
            else:
                self.begin_to_leave()  # its state may be spoiled; the store has a good one
        self.gate.put(event, revision)
        self._leave_if_safe()

    def _note_deleted(self) -> None:
        """Let go what has waited until the session's deletion is in the store."""
        self.record.safe.advance(self.revision + 1)
        self.gate.open()
        if self.attachment is None:
            self.mark_closed()

    def _leave_if_safe(self) -> None:
        if self.leaving and not self.in_engine:
            self.mark_closed()

    def mark_closed(self) -> None:
        """Forget the session, when all of it is safe."""
        stays = self.record.exists and (self.in_engine or not self.record.safe.all)
        if self.leaving and stays:
            self.attachment = None
            return
        if self.record.exists:
            self.record.exists = False
            self._keeper.release(self.id)
        self.gate.close()
        self.record.safe.ended = True  # its parent's answer waits for it no longer
        if self.parents_gate is not None:
            self.parents_gate.open()
        self.news.close()
        super().mark_closed()
        self._keeper.drop(self)
        self._leaving.end()

    def _delete(self, then: Callable[[], None] | None = None) -> None:
        if self.record.exists:
            self.record.exists = False
            self._keeper.delete(self.id, then)
