"""A session: one recurrent state, the text it stands for, and the operations it is to carry out.

The state that is kept is the one *before* the session's last token; that token is still unread. A
step reads it and settles the next one: sampled for a generate, forced for an append; a stride is
several such steps. Nothing here runs one: the engine asks `row()` what to run, and tells `commit()`
what came of it. For a search it asks `hypotheses()`, and tells `commit_search()`.

What a session is doing follows from three things: whether it is closed, whether it is held (nobody
is there to read), and the run of its present operation, if there is one, which may be stalled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.batch.beam_step import BeamInput, BeamResult
from cellwire.server.batch.row import Row, RowResult
from cellwire.server.batch.sampling import generator_key
from cellwire.server.errors import (
    CellwireError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
)
from cellwire.server.session.append_task import AppendTask
from cellwire.server.session.classify_task import ClassifyTask
from cellwire.server.session.complete_task import CompleteTask
from cellwire.server.session.events import (
    Attached,
    AttachFailed,
    Cancelled,
    Closed,
    Completion,
    Detached,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
)
from cellwire.server.session.generate_task import Credit, GenerateTask
from cellwire.server.session.operation_queue import Limits, OperationQueue
from cellwire.server.session.operations import (
    TEXT_CHANGING,
    Accept,
    Append,
    Classify,
    Close,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)
from cellwire.server.session.score_task import ScoreTask
from cellwire.server.session.task import Emit, StepTask, Task, forcing
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory


class Session:
    """One session's life; every method reports what happened through `emit`."""

    __slots__ = (
        "_arena",
        "_catching_up",
        "_completions",
        "_credit",
        "_emit",
        "_fork",
        "_held",
        "_limits",
        "_run",
        "_waiting",
        "closed",
        "id",
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
        fork: Callable[[Session, Fork], None],
    ) -> None:
        self.id = session_id
        self.state_history = state_history
        self.seed = seed
        self.closed = False
        self._held = False
        self._limits = limits
        self._credit = Credit(limits.read_ahead_tokens)
        self._waiting = OperationQueue(limits)
        self._run: Task | None = None
        self._catching_up = False  # the rows of the present step are the trail's, not the run's
        self._completions: tuple[Completion, ...] | None = None  # of the text as it is
        self._arena = arena
        self._emit = emit
        self._fork = fork

    @property
    def runnable(self) -> bool:
        """Whether the session can go on."""
        return self._run is not None and not self._held and not self._run.stalled

    @property
    def resting(self) -> bool:
        """Whether it holds slots and has nothing to do."""
        return self._run is None and not self.closed and not self.state_history.parked

    @property
    def beam_width(self) -> int:
        """The width of the search it is to go on with; 0 if it has a row for a stride instead."""
        assert self._run is not None
        width = self._run.beam_width
        return 0 if width and self.state_history.replay_left else width

    @property
    def max_steps(self) -> int:
        """How many steps the next run may have without keeping anybody waiting."""
        assert self._run is not None
        return self.state_history.replay_left or self._run.max_steps

    @property
    def operation_ids(self) -> tuple[int, ...]:
        """The operations that are running or waiting; the end of a stream is none."""
        return tuple(o.id for o in self._known() if o.id is not None)

    @property
    def reported_length(self) -> int:
        """The length of the text, as far as anybody was told of it."""
        return len(self.state_history) - (self._run.unreported if self._run else 0)

    def row(self, steps: int) -> Row:
        """Return the session's row of a stride of so many steps; it must be runnable."""
        state_history = self.state_history
        if replay_left := state_history.replay_left:
            self._catching_up = True
            start = state_history.head.read + 1
            end = start + min(steps, state_history.steps_to_checkpoint, replay_left)
            return forcing(state_history, state_history.history.between(start, end))
        assert isinstance(self._run, StepTask)
        return self._run.row(steps)

    def commit(self, outcome: RowResult) -> None:
        """Take over what came of the stride of `row()`."""
        if self._catching_up:
            self._catching_up = False
            self.state_history.advance(len(outcome.tokens))
            return
        assert isinstance(self._run, StepTask)
        self._run.commit(outcome)
        if self._run.ended:
            self._end()

    def beam_input(self) -> BeamInput:
        """Return what its search goes on from; it must have one."""
        assert isinstance(self._run, CompleteTask)
        return self._run.beam_input()

    def commit_beam(self, found: BeamResult) -> None:
        """Take over what came of a run of its search."""
        assert isinstance(self._run, CompleteTask)
        self._run.commit_beam(found)
        if self._run.ended:
            self._end()

    def submit(self, operation: Operation) -> None:
        """Carry out an operation after those before it."""
        try:
            self._admit(operation)
        except CellwireError as error:
            self._reject(operation, error)
            return
        if isinstance(operation, TEXT_CHANGING):
            self._supersede()
        self._waiting.add(operation)
        self._start_waiting()

    def _admit(self, operation: Operation) -> None:
        """Raise CellwireError if the operation may not wait here."""
        if operation.id != 0 and self._find(operation.id) is not None:
            raise InvalidArgument(f"operation {operation.id} is still running or waiting")
        self._waiting.check_room(operation)

    def _supersede(self) -> None:
        """End every complete: the text it is to go on from is about to change."""
        for operation in [o for o in self._known() if isinstance(o, Complete)]:
            self._end_early(operation, FinishReason.SUPERSEDED)

    def finish(self, *, keep: bool) -> None:
        """End the session, or only its stream, after the operations there are: no more come."""
        if not self._waiting.closing:
            self._waiting.add(Close(None, keep))
            self._start_waiting()

    def grant(self, chars: int) -> None:
        """Let the session generate `chars` more: the reader has taken as many."""
        self._credit.tokens += chars

    def hold(self) -> None:
        """Do nothing until somebody reads again; see `recall`."""
        self._held = True

    def cancel(self, operation_id: int, target: int) -> None:
        """End the operation `target`, running or waiting."""
        operation = self._find(target)
        if operation is None:
            error = NotFound(f"no operation {target} is running or waiting")
            self._emit(Rejected(self.id, operation_id, error))
            return
        self._end_early(operation, FinishReason.CANCELLED)
        self._emit(Cancelled(self.id, operation_id))
        self._start_waiting()

    def cancel_all(self) -> None:
        """End every operation, but not the session, unless it was to close after them."""
        for operation in self._known():
            if not isinstance(operation, Close):
                self._end_early(operation, FinishReason.CANCELLED)
        self._start_waiting()

    def _end_early(self, operation: Operation, reason: FinishReason) -> None:
        if self._run is not None and operation is self._run.operation:
            self._run.finish(reason)
            self._drop_run()
        else:
            self._waiting.remove(operation)
            self._emit(Finished(self.id, operation.id or 0, reason, len(self.state_history)))

    def _known(self) -> list[Operation]:
        """Return the operations that are running or waiting, in their order."""
        return [self._run.operation, *self._waiting] if self._run else list(self._waiting)

    def _find(self, target: int | None) -> Operation | None:
        return next((operation for operation in self._known() if operation.id == target), None)

    def attach(self, operation_id: int, offset: int | None) -> None:
        """Report the text from an offset on, as far as anybody was told of it, to a new reader."""
        end = self.reported_length
        start = end if offset is None else offset
        history = self.state_history.history
        if not history.start <= start <= end:
            error = OutOfRange(
                f"the session is at offset {end} and remembers its text from {history.start} on; "
                f"it cannot go on from offset {start}"
            )
            self._emit(AttachFailed(self.id, operation_id, error))
            return
        self._waiting.forget_end_of_stream()  # that was another's
        tokens = tuple(history.between(start, end))
        before = tuple(history.between(start - MOST_INCOMPLETE, start))
        self._emit(Attached(self.id, operation_id, start, before, tokens, self.operation_ids))
        self._credit.tokens = self._limits.read_ahead_tokens
        self._held = False

    def fail(self, error: CellwireError) -> None:
        """End the operation whose row, or search, could not even be begun."""
        assert self._run is not None
        self._catching_up = False
        self.state_history.cancel_write()
        self._reject(self._run.operation, error)
        self._drop_run()
        self._start_waiting()

    def close(self, operation_id: int | None, error: CellwireError | None = None) -> None:
        """End the session at once; what was running or waiting is dropped."""
        if self.closed:
            return
        self.closed = True
        self._drop_run()
        self._waiting.clear()
        self.state_history.release()
        self._emit(Closed(self.id, operation_id, error))

    def _start_waiting(self) -> None:
        """Start the next operation that can be started, if none is running."""
        while self._run is None and self._waiting and not self.closed:
            operation = self._waiting.take()
            try:
                self._start(operation)
            except CellwireError as error:
                self._reject(operation, error)

    def _start(self, operation: Operation) -> None:
        """Carry out an operation, or begin to; CellwireError if that is impossible."""
        match operation:
            case Close(keep=True):
                self._emit(Detached(self.id, operation.id))
            case Close():
                self.close(operation.id)
            case Fork():
                self._fork(self, operation)
            case Rewind():
                self._rewind(operation)
            case _:
                self._run = self._run_of(operation)
                if self._run.ended:
                    self._end()

    def _run_of(self, operation: Append | Accept | Generate | Complete | Score | Classify) -> Task:
        common = self.id, self.state_history, self._emit
        match operation:
            case Append():
                self._completions = None
                return AppendTask(*common, operation)
            case Accept():
                tokens = np.array(self._accepted(operation), np.uint32)
                append = Append(operation.id, tokens)
                self._completions = None
                return AppendTask(*common, append)
            case Score():
                return ScoreTask(*common, operation, self._arena)
        if len(self.state_history) == 0:
            raise FailedPrecondition("the session has no text to go on from; append some first")
        match operation:
            case Generate():
                self._completions = None
                key = generator_key(self.seed)
                return GenerateTask(*common, operation, key, self._credit)
            case Complete():
                return CompleteTask(*common, operation, self._arena)
            case Classify():
                return ClassifyTask(*common, operation)

    def _accepted(self, accept: Accept) -> tuple[int, ...]:
        """Return the tokens that are accepted; CellwireError if there are none such."""
        if self._completions is None:
            raise FailedPrecondition(
                "there are no completions of the text as it is now; complete it first"
            )
        if accept.index >= len(self._completions):
            raise NotFound(
                f"there is no completion {accept.index}: the last complete found "
                f"{len(self._completions)}, counted from 0"
            )
        tokens = self._completions[accept.index].tokens
        if accept.chars > len(tokens):
            raise OutOfRange(f"the completion has {len(tokens)} characters, not {accept.chars}")
        return tokens[: accept.chars or None]

    def _rewind(self, rewind: Rewind) -> None:
        if rewind.offset is not None:
            offset = rewind.offset
        else:
            offset = len(self.state_history) - (rewind.chars or 0)
        self.state_history.rewind(offset)
        self._completions = None
        self._emit(Rewound(self.id, rewind.id, offset))

    def _reject(self, operation: Operation, error: CellwireError) -> None:
        self._emit(Rejected(self.id, operation.id or 0, error))

    def _end(self) -> None:
        if isinstance(self._run, CompleteTask):
            self._completions = self._run.results
        self._drop_run()
        self._start_waiting()

    def _drop_run(self) -> None:
        if self._run is not None:
            self._run.release()
            self._run = None

    def held_slots(self) -> list[int]:
        """Return the slots it holds, its operation's included."""
        return [*self.state_history.held(), *(self._run.held() if self._run else ())]

    def check_integrity(self) -> None:
        """Raise AssertionError unless the session's parts agree with each other."""
        self.state_history.check_integrity()
        assert self._run is not None or not self._waiting, "an operation waits for nothing"
        self._waiting.check_integrity()
        assert not self._catching_up, "a stride has been planned and not committed"
