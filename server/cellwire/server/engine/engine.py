"""The engine: sessions, their slots, and the step that moves them all.

It runs nothing by itself and knows no clock, thread or network. Whoever owns it calls its methods
from one thread, `step()` again and again while there are runnable sessions, and passes on the
events each call returns. Commands about a session that is gone do nothing; questions about it raise
NotFound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cellwire.server.batch import beam_step as search
from cellwire.server.batch.row import batch_of, row_results
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine import commands
from cellwire.server.engine.scheduler import Scheduler
from cellwire.server.errors import (
    CellwireError,
    NotCompiled,
    NotFound,
    ResourceExhausted,
    StepFailed,
)
from cellwire.server.session.events import AttachFailed, Closed, Event, Forked, Opened, Rejected
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Close, Fork, Operation
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena
from cellwire.server.state.snapshot import SessionSnapshot, packed
from cellwire.server.state.state_history import StateHistory
from cellwire.server.state.text_history import TextHistory

_TAIL_TOKENS = 1_024
_ROOMS = 64  # the share of all slots, as a divisor, that is made free at once
_NO_NUMBER = "the model's output is not a number"


@dataclass(frozen=True, slots=True)
class Description:
    """A session, for whoever asks."""

    offset: int
    tail: tuple[int, ...]  # the last tokens
    operation_ids: tuple[int, ...]  # running or waiting


class Engine:
    """Sessions of one model, stepped together."""

    def __init__(
        self,
        stepper: Stepper,
        arena: Arena,
        limits: Limits,
        *,
        max_sessions: int,
        max_batch: int,
    ) -> None:
        self.steps = 0  # of strides, made so far
        self.beam_steps = 0
        self._max_sessions = max_sessions
        self._stepper = stepper
        self._arena = arena
        self._busy: Session | None = None  # who is starting something, and must not be parked
        arena.make_room = self._park
        self._limits = limits
        self._scheduler = Scheduler(max_batch)
        self._sessions: dict[str, Session] = {}
        self._events: list[Event] = []
        # Bound once: a method is an object of its own each time it is asked for.
        self._emit, self._make_fork = self._report, self._fork

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return self._scheduler.idle

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def step(self, max_steps: int = MAX_STEPS, max_search_steps: int = MAX_STEPS) -> list[Event]:
        """Move those on whose turn it is, as many as one batch takes: by a stride, or a search.

        Either has no more steps than it may, and than let everybody have their answers as soon as
        they can be had.
        """
        sessions = self._scheduler.next_batch()
        if sessions:
            steps = min(session.max_steps for session in sessions)
            try:
                if sessions[0].beam_width:
                    self._search(sessions, min(steps, max_search_steps))
                else:
                    self._stride(sessions, self._stepper.supported_steps(min(steps, max_steps)))
            except NotCompiled as error:
                for session in sessions:
                    self._busy = session
                    session.fail(error)
            except StepFailed as error:
                # It may have spoiled the states of these, and no others.
                for session in sessions:
                    session.close(None, error)
            self._busy = None
            for session in sessions:
                self._settle(session)
        return self.take_events()

    def _stride(self, sessions: list[Session], steps: int) -> None:
        """Let each session take its row of a stride."""
        self.steps += steps
        rows = [session.row(steps) for session in sessions]
        outcomes = row_results(rows, self._stepper.step(batch_of(rows, steps)))
        for session, outcome in zip(sessions, outcomes, strict=True):
            self._busy = session
            if outcome.broken:
                session.close(None, StepFailed(_NO_NUMBER))
            else:
                session.commit(outcome)

    def _search(self, sessions: list[Session], steps: int) -> None:
        """Let each session's search take some steps; all have the same width."""
        searches = [session.beam_input() for session in sessions]
        rows = len(searches) * len(searches[0].token)
        batch = search.batch_of(searches, min(steps, search.beam_steps_for(rows)))
        self.beam_steps += batch.steps
        founds = search.beam_results(self._stepper.search(batch))
        for session, found in zip(sessions, founds, strict=True):
            self._busy = session
            if found.broken:
                session.close(None, StepFailed(_NO_NUMBER))
            else:
                session.commit_beam(found)

    def handle(self, command: commands.Command) -> None:  # one case a command
        """Carry a command out; what comes of it is among the events."""
        session_id = command.session_id
        match command:
            case commands.OpenSession():
                self.open(session_id, command.operation_id, command.seed, command.rewind_window)
            case commands.SubmitOperation():
                self.submit(session_id, command.operation)
            case commands.FinishSession():
                self.finish(session_id, keep=command.keep)
            case commands.CancelOperation():
                self.cancel(session_id, command.operation_id, command.target)
            case commands.CancelAll():
                self.cancel_all(session_id)
            case commands.GrantTokens():
                self.grant(session_id, command.tokens)
            case commands.HoldSession():
                self.hold(session_id)
            case commands.AttachReader():
                self.attach(session_id, command.operation_id, command.offset)
            case commands.CloseSession():
                self.close(session_id, command.error)

    def open(self, session_id: str, operation_id: int, seed: int, window: int) -> None:
        """Start a session; closed at once, saying why, if there is no room for it."""
        try:
            self._check_room()
            self._add(session_id, StateHistory(self._arena, window), seed)
        except ResourceExhausted as error:
            self._report(Closed(session_id, operation_id, error))
        else:
            self._report(Opened(session_id, operation_id))

    def _check_room(self) -> None:
        """Raise Full if there may be no more sessions."""
        if len(self._sessions) >= self._max_sessions:
            raise ResourceExhausted(
                f"all {self._max_sessions:,} sessions are taken; try again later"
            )

    def _add(self, session_id: str, state_history: StateHistory, seed: int) -> None:
        self._sessions[session_id] = Session(
            session_id, state_history, seed, self._limits, self._arena, self._emit, self._make_fork
        )

    def submit(self, session_id: str, operation: Operation) -> None:
        """Let a session carry out an operation after those before it."""
        self._tell(session_id, lambda session: self._submit(session, operation))

    def _submit(self, session: Session, operation: Operation) -> None:
        try:
            if not isinstance(operation, Close):
                session.state_history.unpark(self._stepper.write_state)
        except CellwireError as error:
            self._report(Rejected(session.id, operation.id or 0, error))
        else:
            session.submit(operation)

    def finish(self, session_id: str, *, keep: bool) -> None:
        """Let a session end, or only its stream, after the operations it has."""
        self._tell(session_id, lambda session: session.finish(keep=keep))

    def cancel(self, session_id: str, operation_id: int, target: int) -> None:
        """End an operation of a session, overtaking all others."""
        self._tell(session_id, lambda session: session.cancel(operation_id, target))

    def cancel_all(self, session_id: str) -> None:
        """End every operation of a session."""
        self._tell(session_id, Session.cancel_all)

    def grant(self, session_id: str, chars: int) -> None:
        """Let a session generate as many characters more as its reader has taken."""
        self._tell(session_id, lambda session: session.grant(chars))

    def hold(self, session_id: str) -> None:
        """Let a session do nothing for now."""
        self._tell(session_id, Session.hold)

    def attach(self, session_id: str, operation_id: int, offset: int | None) -> None:
        """Report a session's text from an offset on, and let it go on if it was held."""
        if session_id not in self._sessions:
            self._report(AttachFailed(session_id, operation_id, _not_found(session_id)))
        self._tell(session_id, lambda session: session.attach(operation_id, offset))

    def close(self, session_id: str, error: CellwireError | None = None) -> None:
        """End a session at once, whatever it is doing."""
        self._tell(session_id, lambda session: session.close(None, error))

    def _tell(self, session_id: str, command: Callable[[Session], None]) -> None:
        if session := self._sessions.get(session_id):
            self._busy = session
            command(session)
            self._busy = None
            self._settle(session)

    def fork(self, session_id: str, new_id: str, seed: int) -> int:
        """Copy a session as it is known; return its offset. NotFound, or Full without room."""
        session = self._find(session_id)
        self._check_room()
        busy, self._busy = self._busy, session
        try:
            session.state_history.unpark(self._stepper.write_state)
            state_history = session.state_history.fork()
        finally:
            self._busy = busy
        # What is held back as the beginning of a stop string can be taken back, so it can here.
        state_history.rewind(session.reported_length)
        self._add(new_id, state_history, seed)
        return len(state_history)

    def _fork(self, session: Session, fork: Fork) -> None:
        offset = self.fork(session.id, fork.session_id, fork.seed)
        self._report(Forked(session.id, fork.id, fork.session_id, fork.seed, offset))

    def describe(self, session_id: str) -> Description:
        """Tell what a session is and does; NotFound."""
        session = self._find(session_id)
        end = session.reported_length
        tail = tuple(session.state_history.history.between(end - _TAIL_TOKENS, end))
        return Description(end, tail, session.operation_ids)

    def snapshot(self, session_id: str) -> SessionSnapshot:
        """Return all of a session as it is known; NotFound."""
        session = self._find(session_id)
        state_history = session.state_history
        history = state_history.history
        read, state = state_history.oldest(self._stepper.read_state)
        return SessionSnapshot(
            seed=session.seed,
            window=state_history.window,
            floor=state_history.floor,
            start=history.start,
            packed=packed(history.between(history.start, session.reported_length)),
            read=read,
            state=state,
        )

    def restore(self, session_id: str, frozen: SessionSnapshot) -> None:
        """Make a session of what `freeze` returned; Full without room, InvalidRequest."""
        self._check_room()
        history = TextHistory(frozen.start, frozen.tokens.tolist())
        state_history = StateHistory.behind_its_text(
            self._arena, frozen.window, history, frozen.floor, frozen.read
        )
        try:
            if frozen.read:
                self._stepper.write_state(state_history.head.slot, frozen.state)
        except CellwireError:
            state_history.release()
            raise
        self._add(session_id, state_history, frozen.seed)

    def _park(self, slots: int) -> None:
        """Make room for so many slots, if sessions that rest hold them; who rested longest first.

        Some more room is made, so that nobody is looked for too often.
        """
        wanted = max(slots, self._arena.capacity // _ROOMS)
        for session in list(self._sessions.values()):
            if self._arena.unreserved >= wanted:
                break
            if session.resting and session is not self._busy:
                try:
                    session.state_history.park(self._stepper.read_state)
                except StepFailed:  # whoever wants room is told that there is none
                    break

    def _find(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise _not_found(session_id)
        return session

    def _settle(self, session: Session) -> None:
        """Bring the scheduler up to date with what happened to a session."""
        self._scheduler.update(session)
        if session.closed:
            self._sessions.pop(session.id, None)
        elif session.resting and session.id in self._sessions:
            self._sessions[session.id] = self._sessions.pop(session.id)  # the last to be parked

    def _report(self, event: Event) -> None:
        self._events.append(event)

    def take_events(self) -> list[Event]:
        """Return what has been reported since the last time."""
        events, self._events = self._events, []
        return events

    def check_integrity(self) -> None:
        """Raise AssertionError unless sessions, slots and the scheduler's round agree."""
        sessions = self._sessions.values()
        self._arena.check_integrity(slot for s in sessions for slot in s.held_slots())
        widths = {s: s.beam_width for s in sessions if s.runnable}
        assert widths == self._scheduler.runnable
        for session in sessions:
            session.check_integrity()


def _not_found(session_id: str) -> NotFound:
    return NotFound(f"there is no session {session_id!r}")
