"""The engine: the sessions of one model, and the runs that advance them.

An engine runs nothing by itself and knows no clock, thread or network. Its owner calls it from one
thread: `handle()` for each command, `step()` as long as it is not idle; events collect until
`step()` or `take_events()` returns them.
"""

from __future__ import annotations

from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine import commands
from cellwire.server.engine.dispatch import dispatch
from cellwire.server.engine.runs import Runs
from cellwire.server.engine.scheduler import Scheduler
from cellwire.server.engine.session_table import SessionTable
from cellwire.server.engine.stats import Description, Stats, description_of, stats_of
from cellwire.server.engine.transfer import (
    from_snapshot,
    snapshot_of_copy,
    state_read,
    to_snapshot,
)
from cellwire.server.errors import AlreadyExists, CellwireError, NotFound, ResourceExhausted
from cellwire.server.session.append_task import AppendTask
from cellwire.server.session.events import AttachFailed, Closed, Event, Opened, Restored
from cellwire.server.session.fork import forked
from cellwire.server.session.new_task import check_possible, slots_needed
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import WITHOUT_SLOTS, Checkpoint, Fork, Operation, ReadState
from cellwire.server.session.session import Session
from cellwire.server.session.task import RunKind
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.state_history import StateHistory


class Engine:
    """The sessions of one model, stepped together."""

    def __init__(
        self,
        stepper: Stepper,
        arena: Arena,
        limits: Limits,
        *,
        max_sessions: int,
        max_batch: int,
    ) -> None:
        self._stepper = stepper
        self._arena = arena
        self._limits = limits
        self._scheduler = Scheduler(stepper, max_batch)
        self._runs = Runs(stepper, self._scheduler, self._update, self.handle)
        self._sessions = SessionTable(arena, stepper, max_sessions)
        self._events: list[Event] = []
        # Bound once: each access to a method makes an object.
        self._emit = self._report

    @property
    def steps(self) -> int:
        """The steps of all runs of rows since the start."""
        return self._runs.steps

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing. With a run in flight, it would commit that."""
        return self._scheduler.idle

    @property
    def next_kind(self) -> RunKind:
        """The kind of the next run, unless it is idle."""
        return self._scheduler.next_kind

    @property
    def committed(self) -> tuple[RunKind, int] | None:
        """The kind and the steps of the run that the last step committed."""
        return self._runs.committed

    def step(self, max_steps: int = MAX_STEPS) -> list[Event]:
        """Start one run and commit one; return all events since the last call.

        It is the same run, unless two go on at a time (see runs.py). The steps of the one that is
        started are capped by the given maximum, and by the session that needs the fewest, so that
        no answer waits for another session.
        """
        self._runs.step(max_steps)
        return self.take_events()

    def finish_run(self) -> None:
        """Commit the run in flight, if there is one."""
        self._runs.finish()

    def handle(self, command: commands.Command) -> None:
        """Carry out a command, and start the operations that can start."""
        if isinstance(command, commands.OpenSession):
            self._open(command)
            return
        session = self._sessions.get(command.session_id)
        if session is None:
            if isinstance(command, commands.AttachReader):
                error = NotFound(f"there is no session {command.session_id!r}")
                self._report(AttachFailed(command.session_id, command.operation_id, error))
            return
        if not self._runs.defers(command, session):
            if isinstance(command, commands.ReadState):
                self._read_state(session)
            else:
                dispatch(command, session)
            self._update(session)

    def _find(self, session_id: str) -> Session:
        """Return a session; NotFound. If its run is in flight, commit that first."""
        if self._sessions.find(session_id) in self._runs.sessions_in_flight:
            self._runs.finish()
        return self._sessions.find(session_id)

    def _update(self, session: Session) -> None:
        """Start a session's operations until one takes steps; bring the tables up to date."""
        while operation := session.take_next():
            try:
                self._start(session, operation)
            except CellwireError as error:
                session.reject(operation, error)
        self._scheduler.update(session)
        self._sessions.update(session)

    def _start(self, session: Session, operation: Operation) -> None:
        if isinstance(operation, Fork):
            new_id, seed, told = operation.session_id, operation.seed, operation.snapshot
            self.fork(session.id, new_id, seed, operation.id, snapshot=told)
            return
        if isinstance(operation, ReadState):
            self._read_state(session)
            return
        # A request that is refused must not park other sessions.
        check_possible(operation, session.state_history, session.completions)
        if isinstance(operation, Checkpoint):
            self._read_state(session)  # so that the text before it need not be read again
        if not isinstance(operation, WITHOUT_SLOTS):
            self._make_ready(session, slots_needed(operation))
        session.start(operation)

    def _make_ready(self, session: Session, slots: int) -> None:
        """Make room for `slots` slots, and for the session's own if it is parked; unpark it."""
        self._runs.handle_deferred()  # which may free slots, or park the session
        history = session.state_history
        own = slots_for(history.window) if history.parked else 0
        self._sessions.make_room(own + slots, session)
        history.unpark(self._stepper.write_state)

    def _open(self, command: commands.OpenSession) -> None:
        """Create a session; it is closed at once, with the reason, if there is no room."""
        session_id, window = command.session_id, command.rewind_window
        try:
            self._check_new(session_id)
            self._sessions.make_room(slots_for(window))
            self._add(session_id, StateHistory(self._arena, window), command.seed)
        except (AlreadyExists, ResourceExhausted) as error:
            self._report(Closed(session_id, command.operation_id, error))
        else:
            self._report(Opened(session_id, command.operation_id, command.seed, window))

    def _check_new(self, session_id: str) -> None:
        """Raise AlreadyExists if an id is taken, ResourceExhausted if all sessions are.

        Sessions that are to be closed take no room.
        """
        self._runs.handle_deferred()
        self._sessions.check_new(session_id)

    def _add(self, session_id: str, history: StateHistory, seed: int) -> Session:
        session = Session(session_id, history, seed, self._limits, self._arena, self._emit)
        return self._sessions.add(session)

    def fork(
        self,
        session_id: str,
        new_id: str,
        seed: int,
        operation_id: int | None = None,
        *,
        snapshot: bool = False,
    ) -> int:
        """Copy a session, and return the offset. NotFound, AlreadyExists, ResourceExhausted.

        `snapshot`: whether the event tells the copy's; StepFailed if its state cannot be read.
        """
        self._check_new(new_id)
        session = self._find(session_id)
        self._make_ready(session, slots_for(session.state_history.window))
        copy = session.state_history.fork()
        if (reported := session.told_text.reported) < len(copy):
            copy.rewind(reported)  # a stop string may still take the rest back
        told = snapshot_of_copy(copy, seed, self._stepper) if snapshot else None
        self._report(forked(session, operation_id, self._add(new_id, copy, seed), told))
        return len(copy)

    def _read_state(self, session: Session) -> None:
        if isinstance(session.task, AppendTask):  # it has added tokens that are in no event yet
            session.queue.read_state()
        elif event := state_read(session, self._stepper):
            self._report(event)

    def describe(self, session_id: str) -> Description:
        """Return a session's text and operations; NotFound."""
        return description_of(self._find(session_id))

    def snapshot(self, session_id: str) -> SessionSnapshot:
        """Return a session at this moment, without its operations; NotFound."""
        return to_snapshot(self._find(session_id), self._stepper)

    def restore(self, session_id: str, snapshot: SessionSnapshot) -> None:
        """Create a session from a snapshot. AlreadyExists, ResourceExhausted, InvalidArgument."""
        self._check_new(session_id)
        self._sessions.make_room(slots_for(snapshot.rewind_window))
        self._add(session_id, from_snapshot(snapshot, self._arena, self._stepper), snapshot.seed)
        self._report(Restored(session_id, snapshot))

    def stats(self) -> Stats:
        """Return the load at this moment."""
        self._runs.handle_deferred()
        return stats_of(self._sessions, self._scheduler, self._arena, self._runs)

    def _report(self, event: Event) -> None:
        self._events.append(event)

    def take_events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def check_integrity(self) -> None:
        """Raise AssertionError unless sessions, slots, rounds and runs agree."""
        self._arena.check_integrity(slot for s in self._sessions for slot in s.held_slots())
        runnable = {s: s.active.run_kind for s in self._sessions if s.runnable}
        assert runnable == self._scheduler.runnable
        for session in self._sessions:
            session.check_integrity()
        self._runs.check_integrity()
