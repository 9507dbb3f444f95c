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

from cellwire.server.appending import Appending
from cellwire.server.arena import Arena
from cellwire.server.classifying import Classifying
from cellwire.server.completing import Completing
from cellwire.server.errors import (
    CellwireError,
    InvalidRequest,
    NotFound,
    OutOfRange,
    WrongState,
)
from cellwire.server.events import (
    Cancelled,
    Closed,
    Completion,
    Finished,
    FinishReason,
    LetGo,
    NotRecalled,
    Recalled,
    Rejected,
    Rewound,
)
from cellwire.server.generating import Credit, Generating
from cellwire.server.operations import (
    MOVES,
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
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Run, Stepping, forcing
from cellwire.server.sampling import generator_key
from cellwire.server.scoring import Scoring
from cellwire.server.search import Found, Hypotheses
from cellwire.server.trail import Trail
from cellwire.server.vocabulary import MOST_INCOMPLETE
from cellwire.server.waiting import Limits, Waiting


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
        "trail",
    )

    def __init__(
        self,
        session_id: str,
        trail: Trail,
        seed: int,
        limits: Limits,
        arena: Arena,
        emit: Emit,
        fork: Callable[[Session, Fork], None],
    ) -> None:
        self.id = session_id
        self.trail = trail
        self.seed = seed
        self.closed = False
        self._held = False
        self._limits = limits
        self._credit = Credit(limits.read_ahead_chars)
        self._waiting = Waiting(limits)
        self._run: Run | None = None
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
        return self._run is None and not self.closed and not self.trail.parked

    @property
    def beam_width(self) -> int:
        """The width of the search it is to go on with; 0 if it has a row for a stride instead."""
        assert self._run is not None
        width = self._run.beam_width
        return 0 if width and self.trail.missing else width

    @property
    def stride(self) -> int:
        """How many steps the next run may have without keeping anybody waiting."""
        assert self._run is not None
        return self.trail.missing or self._run.stride

    @property
    def operation_ids(self) -> tuple[int, ...]:
        """The operations that are running or waiting; the end of a stream is none."""
        return tuple(o.id for o in self._known() if o.id is not None)

    @property
    def told(self) -> int:
        """The length of the text, as far as anybody was told of it."""
        return len(self.trail) - (self._run.unreported if self._run else 0)

    def row(self, steps: int) -> Row:
        """Return the session's row of a stride of so many steps; it must be runnable."""
        trail = self.trail
        if missing := trail.missing:
            self._catching_up = True
            start = trail.head.read + 1
            end = start + min(steps, trail.stride, missing)
            return forcing(trail, trail.history.between(start, end))
        assert isinstance(self._run, Stepping)
        return self._run.row(steps)

    def commit(self, outcome: Outcome) -> None:
        """Take over what came of the stride of `row()`."""
        if self._catching_up:
            self._catching_up = False
            self.trail.advance(len(outcome.tokens))
            return
        assert isinstance(self._run, Stepping)
        self._run.commit(outcome)
        if self._run.ended:
            self._end()

    def hypotheses(self) -> Hypotheses:
        """Return what its search goes on from; it must have one."""
        assert isinstance(self._run, Completing)
        return self._run.hypotheses()

    def commit_search(self, found: Found) -> None:
        """Take over what came of a run of its search."""
        assert isinstance(self._run, Completing)
        self._run.commit_search(found)
        if self._run.ended:
            self._end()

    def submit(self, operation: Operation) -> None:
        """Carry out an operation after those before it."""
        try:
            self._admit(operation)
        except CellwireError as error:
            self._reject(operation, error)
            return
        if isinstance(operation, MOVES):
            self._supersede()
        self._waiting.add(operation)
        self._start_waiting()

    def _admit(self, operation: Operation) -> None:
        """Raise CellwireError if the operation may not wait here."""
        if operation.id != 0 and self._find(operation.id) is not None:
            raise InvalidRequest(f"operation {operation.id} is still running or waiting")
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
            self._emit(Finished(self.id, operation.id or 0, reason, len(self.trail)))

    def _known(self) -> list[Operation]:
        """Return the operations that are running or waiting, in their order."""
        return [self._run.operation, *self._waiting] if self._run else list(self._waiting)

    def _find(self, target: int | None) -> Operation | None:
        return next((operation for operation in self._known() if operation.id == target), None)

    def recall(self, operation_id: int, offset: int | None) -> None:
        """Report the text from an offset on, as far as anybody was told of it, to a new reader."""
        end = self.told
        start = end if offset is None else offset
        history = self.trail.history
        if not history.start <= start <= end:
            error = OutOfRange(
                f"the session is at offset {end} and remembers its text from {history.start} on; "
                f"it cannot go on from offset {start}"
            )
            self._emit(NotRecalled(self.id, operation_id, error))
            return
        self._waiting.forget_end_of_stream()  # that was another's
        tokens = tuple(history.between(start, end))
        before = tuple(history.between(start - MOST_INCOMPLETE, start))
        self._emit(Recalled(self.id, operation_id, start, before, tokens, self.operation_ids))
        self._credit.tokens = self._limits.read_ahead_chars
        self._held = False

    def fail(self, error: CellwireError) -> None:
        """End the operation whose row, or search, could not even be begun."""
        assert self._run is not None
        self._catching_up = False
        self.trail.cancel_write()
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
        self.trail.release()
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
                self._emit(LetGo(self.id, operation.id))
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

    def _run_of(self, operation: Append | Accept | Generate | Complete | Score | Classify) -> Run:
        common = self.id, self.trail, self._emit
        match operation:
            case Append():
                self._completions = None
                return Appending(*common, operation)
            case Accept():
                tokens = np.array(self._accepted(operation), np.uint32)
                append = Append(operation.id, tokens)
                self._completions = None
                return Appending(*common, append)
            case Score():
                return Scoring(*common, operation, self._arena)
        if len(self.trail) == 0:
            raise WrongState("the session has no text to go on from; append some first")
        match operation:
            case Generate():
                self._completions = None
                key = generator_key(self.seed)
                return Generating(*common, operation, key, self._credit)
            case Complete():
                return Completing(*common, operation, self._arena)
            case Classify():
                return Classifying(*common, operation)

    def _accepted(self, accept: Accept) -> tuple[int, ...]:
        """Return the tokens that are accepted; CellwireError if there are none such."""
        if self._completions is None:
            raise WrongState("there are no completions of the text as it is now; complete it first")
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
            offset = len(self.trail) - (rewind.chars or 0)
        self.trail.rewind(offset)
        self._completions = None
        self._emit(Rewound(self.id, rewind.id, offset))

    def _reject(self, operation: Operation, error: CellwireError) -> None:
        self._emit(Rejected(self.id, operation.id or 0, error))

    def _end(self) -> None:
        if isinstance(self._run, Completing):
            self._completions = self._run.results
        self._drop_run()
        self._start_waiting()

    def _drop_run(self) -> None:
        if self._run is not None:
            self._run.release()
            self._run = None

    def held_slots(self) -> list[int]:
        """Return the slots it holds, its operation's included."""
        return [*self.trail.held(), *(self._run.held() if self._run else ())]

    def check_integrity(self) -> None:
        """Raise AssertionError unless the session's parts agree with each other."""
        self.trail.check_integrity()
        assert self._run is not None or not self._waiting, "an operation waits for nothing"
        self._waiting.check_integrity()
        assert not self._catching_up, "a stride has been planned and not committed"
