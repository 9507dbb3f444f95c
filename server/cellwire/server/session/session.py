"""A session: a recurrent state, the text it stands for, and the operations on it.

The kept state is the one *before* the text's last token, which is unread. A step reads that token
and determines the next one: sampled for a generate, forced for an append. A session runs no steps.
The engine runs the active task, and starts the queued operations, for which it makes room first.
"""

from __future__ import annotations

from cellwire.server.batch.sampling import generator_key
from cellwire.server.errors import CellwireError, InvalidArgument, NotFound
from cellwire.server.session import events
from cellwire.server.session.active_task import ActiveTask
from cellwire.server.session.attach import attached
from cellwire.server.session.complete_task import CompleteTask
from cellwire.server.session.generate_task import Credit
from cellwire.server.session.instant import InstantOperation, answer_to
from cellwire.server.session.new_task import TaskContext, TaskOperation, new_task
from cellwire.server.session.operation_queue import Limits, OperationQueue
from cellwire.server.session.operations import (
    REMEMBERED,
    TEXT_CHANGING,
    Close,
    Complete,
    Operation,
    ReadState,
    Rewind,
)
from cellwire.server.session.task import Emit, OperationTask
from cellwire.server.session.told_text import ToldText, told_text
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory


class Session:
    """One session. Its methods report what happened through `emit`."""

    __slots__ = (
        "_active",
        "_arena",
        "_credit",
        "_emit",
        "_held",
        "_limits",
        "closed",
        "completions",
        "id",
        "queue",
        "seed",
        "state_history",
    )

    def __init__(
        self,
        session_id: str,
        state_history: StateHistory,
        seed: int,
        limits: Limits,
        arena: Arena,
        emit: Emit,
    ) -> None:
        self.id = session_id
        self.state_history = state_history
        self.seed = seed
        self.closed = False
        self._held = False  # until a client reads
        self._limits = limits
        self._credit = Credit(limits.read_ahead_tokens)
        self.queue = OperationQueue(limits)
        self._active: ActiveTask | None = None
        self.completions: tuple[events.Completion, ...] | None = None  # of the text as it is
        self._arena = arena
        self._emit = emit

    @property
    def active(self) -> ActiveTask:
        """The operation in progress; there must be one."""
        assert self._active is not None
        return self._active

    @property
    def runnable(self) -> bool:
        """Whether it takes part in the next runs."""
        return self._active is not None and not self._held and not self._active.task.stalled

    @property
    def resting(self) -> bool:
        """Whether it holds slots and has nothing to do."""
        return self._active is None and not self.closed and not self.state_history.parked

    def submit(self, operation: Operation) -> None:
        """Queue an operation behind those before it, or reject it."""
        try:
            if operation.id != 0 and self._find(operation.id) is not None:
                at_work = f"operation {operation.id} is still running or waiting"
                raise InvalidArgument(f"{at_work}; use another id, or wait for its answer")
            self.queue.check_room(operation)
        except CellwireError as error:
            self.reject(operation, error)
            return
        if isinstance(operation, TEXT_CHANGING):
            for complete in [o for o in self._operations() if isinstance(o, Complete)]:
                self._end_early(complete, events.FinishReason.SUPERSEDED)
        self.queue.add(operation)

    def finish(self, *, keep: bool) -> None:
        """Close the session, or with `keep` only detach, after the operations it has."""
        if not self.queue.closing:
            self.queue.add(Close(None, keep))

    def grant(self, tokens: int) -> None:
        """Allow `tokens` more generated tokens: the reader has taken as many."""
        self._credit.tokens += tokens

    def hold(self) -> None:
        """Do nothing until a reader attaches."""
        self._held = True

    def cancel(self, operation_id: int, target: int) -> None:
        """End the operation `target`, running or waiting."""
        operation = self._find(target)
        if operation is None:
            error = NotFound(f"no operation {target} is running or waiting")
            self._emit(events.Rejected(self.id, operation_id, error))
            return
        self._end_early(operation, events.FinishReason.CANCELLED)
        self._emit(events.Cancelled(self.id, operation_id))

    def cancel_all(self) -> None:
        """End every operation of a client, except a close."""
        for operation in self._operations():
            if not isinstance(operation, ReadState | Close):
                self._end_early(operation, events.FinishReason.CANCELLED)

    def _end_early(self, operation: Operation, reason: events.FinishReason) -> None:
        if self._active is not None and operation is self._active.operation:
            self._active.task.finish(reason)
            self._drop_active()
        else:
            self.queue.remove(operation)
            offset, after = self.told_text.length, self._after(operation)
            self._emit(events.Finished(self.id, operation.id or 0, reason, offset, after=after))

    def attach(self, operation_id: int, offset: int | None) -> None:
        """Report the text from `offset` on to a new reader, and resume; see attach.py."""
        event = attached(self.id, operation_id, offset, self.told_text, self.operation_ids)
        if isinstance(event, events.AttachFailed):
            self._emit(event)
            return
        self.queue.forget_end_of_stream()  # of the reader before
        self._emit(event)
        self._credit.tokens = self._limits.read_ahead_tokens
        self._held = False

    def close(self, operation_id: int | None, error: CellwireError | None = None) -> None:
        """End the session at once, with all of its operations."""
        if self.closed:
            return
        self.closed = True
        self._drop_active()
        self.queue.clear()
        self.state_history.release()
        self._emit(events.Closed(self.id, operation_id, error))

    def take_next(self) -> Operation | None:
        """Remove and return the operation to start now, if the one before it has ended."""
        if self._active is not None and self._active.task.ended:
            if isinstance(self._active.task, CompleteTask):
                self.completions = self._active.task.results
            self._drop_active()
        return self.queue.take() if self.queue and not (self._active or self.closed) else None

    def _drop_active(self) -> None:
        if self._active is not None:
            self._active.task.release()
            self._active = None

    def start(self, operation: TaskOperation | InstantOperation | Rewind | Close) -> None:
        """Start an operation, and finish it if it takes no steps; CellwireError if it cannot."""
        match operation:
            case Close(keep=True):
                self._emit(events.Detached(self.id, operation.id))
            case Close():
                self.close(operation.id)
            case _ if isinstance(operation, InstantOperation):
                self._emit(answer_to(self.id, operation, self.state_history.text))
            case Rewind():
                offset = operation.target(len(self.state_history))
                self.state_history.rewind(offset)
                self._emit(events.Rewound(self.id, operation.id, offset, self._after(operation)))
            case _:
                self._active = ActiveTask(new_task(operation, self._context()))
        if isinstance(operation, TEXT_CHANGING):
            self.completions = None

    def _after(self, operation: Operation) -> events.TextEndAfter | None:
        end = self.state_history.text.end
        return events.TextEndAfter(operation, end) if isinstance(operation, REMEMBERED) else None

    def _context(self) -> TaskContext:
        history, key, emit = self.state_history, generator_key(self.seed), self._emit
        return TaskContext(self.id, history, emit, self._arena, key, self._credit, self.completions)

    def fail(self, error: CellwireError) -> None:
        """End the operation in progress, whose run could not begin."""
        task = self.active.task
        self.state_history.discard_write()
        task.flush()
        self.reject(task.operation, error, task)
        self._drop_active()

    def reject(
        self, operation: Operation, error: CellwireError, task: OperationTask | None = None
    ) -> None:
        """Report that an operation failed, after its `task` has appended some tokens."""
        added = (task.appended, task.replaced) if task else ((), 0)
        after = self._after(operation)
        self._emit(events.Rejected(self.id, operation.id or 0, error, *added, after))

    @property
    def operation_ids(self) -> tuple[int, ...]:
        """The operations that are running or waiting, without the end of a stream."""
        return tuple(o.id for o in self._operations() if o.id is not None)

    @property
    def told_text(self) -> ToldText:
        """The text as events have told it."""
        return told_text(self.state_history, self.task)

    @property
    def task(self) -> OperationTask | None:
        """The task of the operation in progress."""
        return self._active.task if self._active else None

    def _operations(self) -> list[Operation]:
        return [self._active.operation, *self.queue] if self._active else list(self.queue)

    def _find(self, target: int | None) -> Operation | None:
        return next((o for o in self._operations() if o.id == target), None)

    def held_slots(self) -> list[int]:
        """Return the slots that it holds, those of its task included."""
        return self.state_history.held_slots() + (self.task.held_slots() if self.task else [])

    def check_integrity(self) -> None:
        """Raise AssertionError unless its parts agree with each other."""
        self.state_history.check_integrity()
        assert self._active is not None or not self.queue, "an operation waits for nothing"
        self.queue.check_integrity()
