"""A session: one recurrent state, the text it stands for, and the operations it is to carry out.

The state kept in the arena is the one *before* the session's last token; that token is `pending`.
A step consumes the pending token and settles the next one: sampled for a generate, forced for an
append. Nothing here runs a step: the engine asks `row()` what to run, and tells `commit()` what
came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from cellwire.server.arena import ZERO
from cellwire.server.errors import CellwireError, Full, InvalidRequest, NotFound, WrongState
from cellwire.server.events import (
    Appended,
    Cancelled,
    Closed,
    Event,
    Finished,
    FinishReason,
    Opened,
    Rejected,
    Written,
)
from cellwire.server.operations import Append, Close, Generate, Operation
from cellwire.server.sampling import Sampling, generator_key
from cellwire.server.step import SAMPLED


class Phase(Enum):
    """What a session is doing."""

    EMPTY = auto()  # no text yet, so nothing to generate from
    READY = auto()
    APPENDING = auto()
    GENERATING = auto()
    STALLED = auto()  # generating, but the reader is behind
    CLOSED = auto()


class Change(Enum):
    """What moves a session from phase to phase."""

    APPEND = auto()
    GENERATE = auto()
    STALL = auto()
    RESUME = auto()
    END = auto()  # of the running operation
    CLOSE = auto()


TRANSITIONS: dict[tuple[Phase, Change], Phase] = {
    (Phase.EMPTY, Change.APPEND): Phase.APPENDING,
    (Phase.READY, Change.APPEND): Phase.APPENDING,
    (Phase.READY, Change.GENERATE): Phase.GENERATING,
    (Phase.GENERATING, Change.STALL): Phase.STALLED,
    (Phase.STALLED, Change.RESUME): Phase.GENERATING,
    (Phase.APPENDING, Change.END): Phase.READY,
    (Phase.GENERATING, Change.END): Phase.READY,
    (Phase.STALLED, Change.END): Phase.READY,
    **{(phase, Change.CLOSE): Phase.CLOSED for phase in Phase if phase is not Phase.CLOSED},
}

REFUSALS = {
    (Phase.EMPTY, Change.GENERATE): "the session has no text to go on from; append some first",
}

RUNNABLE = frozenset({Phase.APPENDING, Phase.GENERATING})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may hold."""

    waiting_operations: int = 64
    waiting_chars: int = 1_000_000
    read_ahead_chars: int = 1_024  # generated before the reader has taken any


@dataclass(frozen=True, slots=True)
class Row:
    """What a session puts into the next step."""

    token: int
    read_slot: int
    write_slot: int
    forced: int
    sampling: Sampling
    key: int
    position: int


_FORCED_SAMPLING = Sampling()


class Session:
    """One session's life; every method reports what happened through `emit`."""

    def __init__(
        self,
        session_id: str,
        operation_id: int,
        slot: int,
        seed: int,
        limits: Limits,
        emit: Callable[[Event], None],
    ) -> None:
        self.id = session_id
        self.slot = slot
        self.phase = Phase.EMPTY
        self.length = 0  # tokens, the pending one included
        self._read_slot = ZERO
        self._pending: int | None = None
        self._key = generator_key(seed)
        self._limits = limits
        self._credit = limits.read_ahead_chars
        self._waiting: deque[Operation] = deque()
        self._waiting_chars = 0
        self._running: Append | Generate | None = None
        self._done = 0  # tokens the running operation has settled
        self._log_probability = 0.0  # of those tokens
        self._emit = emit
        emit(Opened(session_id, operation_id))

    @property
    def runnable(self) -> bool:
        """Whether the session has a row for the next step."""
        return self.phase in RUNNABLE

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self.phase is Phase.CLOSED

    def row(self) -> Row:
        """Return the session's row for the next step; it must be runnable."""
        running = self._running
        assert running is not None
        assert self._pending is not None
        forced = int(running.tokens[self._done]) if isinstance(running, Append) else SAMPLED
        sampling = _FORCED_SAMPLING if isinstance(running, Append) else running.sampling
        return Row(
            token=self._pending,
            read_slot=self._read_slot,
            write_slot=self.slot,
            forced=forced,
            sampling=sampling,
            key=self._key,
            position=self.length,
        )

    def commit(self, token: int, log_probability: float) -> None:
        """Take over what the step of `row()` chose."""
        running = self._running
        assert running is not None
        self._read_slot = self.slot
        self._settle(token, log_probability)
        if isinstance(running, Generate):
            offset = self.length - 1
            self._emit(Written(self.id, running, offset, token, log_probability))
            self._credit -= 1
            if self._done == running.max_chars:
                self._emit_finished(running, FinishReason.MAX_CHARS, self._done)
                self._end()
            elif self._credit <= 0:
                self._change(Change.STALL)
        elif self._done == len(running.tokens):
            self._complete_append(running)

    def _settle(self, token: int, log_probability: float) -> None:
        self._pending = token
        self.length += 1
        self._done += 1
        self._log_probability += log_probability

    def submit(self, operation: Operation) -> None:
        """Carry out an operation after those before it."""
        try:
            self._admit(operation)
        except CellwireError as error:
            self._emit(Rejected(self.id, operation.id or 0, error))
            return
        self._waiting.append(operation)
        self._waiting_chars += operation.waiting_chars
        self._start_waiting()

    def _admit(self, operation: Operation) -> None:
        """Raise Full, InvalidRequest or WrongState if the operation may not wait here."""
        if operation.id != 0 and self._find(operation.id) is not None:
            raise InvalidRequest(f"operation {operation.id} is still running or waiting")
        if self._closing:
            raise WrongState("the session is closing; nothing comes after close")
        if isinstance(operation, Close):
            return
        if len(self._waiting) >= self._limits.waiting_operations:
            raise Full(
                f"{len(self._waiting)} operations of this session are waiting already; "
                "wait for an answer before sending more"
            )
        if self._waiting_chars + operation.waiting_chars > self._limits.waiting_chars:
            raise Full(
                f"{self._waiting_chars:,} characters of this session are waiting already, and "
                f"{self._limits.waiting_chars:,} may; wait for an answer before sending more"
            )

    @property
    def _closing(self) -> bool:
        return bool(self._waiting) and isinstance(self._waiting[-1], Close)

    def finish(self) -> None:
        """End the session after the operations there are: no more will come."""
        if not self._closing:
            self._waiting.append(Close(None))
            self._start_waiting()

    def grant(self, chars: int) -> None:
        """Let the session generate `chars` more: the reader has taken as many."""
        self._credit += chars
        if self.phase is Phase.STALLED and self._credit > 0:
            self._change(Change.RESUME)

    def cancel(self, operation_id: int, target: int) -> None:
        """End the operation `target`, running or waiting."""
        operation = self._find(target)
        if operation is None:
            error = NotFound(f"no operation {target} is running or waiting")
            self._emit(Rejected(self.id, operation_id, error))
            return
        running = operation is self._running
        self._emit_finished(operation, FinishReason.CANCELLED, self._done if running else 0)
        self._emit(Cancelled(self.id, operation_id))
        if running:
            self._end()
        else:
            self._forget_waiting(operation)

    def _find(self, target: int | None) -> Operation | None:
        known = [self._running, *self._waiting] if self._running else self._waiting
        return next((operation for operation in known if operation.id == target), None)

    def close(self, operation_id: int | None, error: CellwireError | None = None) -> None:
        """End the session at once; what was running or waiting is dropped."""
        if self.phase is Phase.CLOSED:
            return
        self._change(Change.CLOSE)
        self._running = None
        self._waiting.clear()
        self._waiting_chars = 0
        self._emit(Closed(self.id, operation_id, error))

    def _start_waiting(self) -> None:
        """Start the next operation that can be started, if none is running."""
        while self._running is None and self._waiting and self.phase is not Phase.CLOSED:
            operation = self._waiting[0]
            self._forget_waiting(operation)
            if isinstance(operation, Close):
                self.close(operation.id)
            else:
                self._start(operation)

    def _forget_waiting(self, operation: Operation) -> None:
        self._waiting.remove(operation)
        self._waiting_chars -= operation.waiting_chars

    def _start(self, operation: Append | Generate) -> None:
        change = Change.APPEND if isinstance(operation, Append) else Change.GENERATE
        try:
            self._change(change)
        except WrongState as error:
            self._emit(Rejected(self.id, operation.id, error))
            return
        self._running, self._done, self._log_probability = operation, 0, 0.0
        if isinstance(operation, Append) and self._pending is None:
            # The first token of all follows nothing: it is pending without a step.
            self._settle(int(operation.tokens[0]), 0.0)
            if self._done == len(operation.tokens):
                self._complete_append(operation)
        elif isinstance(operation, Generate) and self._credit <= 0:
            self._change(Change.STALL)

    def _complete_append(self, append: Append) -> None:
        self._emit(Appended(self.id, append.id, self.length, self._log_probability))
        self._end()

    def _emit_finished(self, operation: Operation, reason: FinishReason, done: int) -> None:
        appended = done if isinstance(operation, Append) else 0
        self._emit(
            Finished(self.id, operation.id or 0, reason, self.length, appended, done - appended)
        )

    def _end(self) -> None:
        self._running = None
        self._change(Change.END)
        self._start_waiting()

    def _change(self, change: Change) -> None:
        after = TRANSITIONS.get((self.phase, change))
        if after is None:
            # What a client can bring about has a refusal; a KeyError here is a fault of ours.
            raise WrongState(REFUSALS[self.phase, change])
        self.phase = after

    def check_integrity(self) -> None:
        """Raise AssertionError unless the session's parts agree with each other."""
        busy = self.phase in {Phase.APPENDING, Phase.GENERATING, Phase.STALLED}
        assert (self._running is not None) == busy, "an operation runs in a phase that has none"
        assert busy or not self._waiting, "an operation waits for nothing"
        assert (self._pending is None) == (self.length == 0), "text without a pending token"
        assert self._waiting_chars == sum(w.waiting_chars for w in self._waiting)
