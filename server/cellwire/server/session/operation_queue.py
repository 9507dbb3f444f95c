"""The operations of a session that wait for their turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cellwire.server.errors import FailedPrecondition, ResourceExhausted
from cellwire.server.session.operations import Append, Close, Operation, ReadState, Score


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one session."""

    waiting_operations: int = 64
    waiting_tokens: int = 1_000_000
    read_ahead_tokens: int = 1_024  # generated before the reader has taken any


class OperationQueue:
    """A queue bounded in operations and in tokens. A close is always its last operation."""

    __slots__ = ("_limits", "_operations", "_tokens")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._operations: list[Operation] = []  # an empty deque takes ten times the memory
        self._tokens = 0

    def __len__(self) -> int:
        """Return the number of operations."""
        return len(self._operations)

    def __iter__(self) -> Iterator[Operation]:
        """Iterate over the operations in their order."""
        return iter(self._operations)

    @property
    def closing(self) -> bool:
        """Whether the last operation is a close."""
        return bool(self._operations) and isinstance(self._operations[-1], Close)

    def check_room(self, operation: Operation) -> None:
        """Raise ResourceExhausted or FailedPrecondition if the operation cannot be added."""
        if self.closing:
            raise FailedPrecondition("the session is closing; nothing comes after close")
        if isinstance(operation, Close):
            return
        waiting = len(self._operations) - self._reads_state
        if waiting >= self._limits.waiting_operations:
            raise ResourceExhausted(
                f"{waiting} operations of this session are waiting already; "
                "wait for an answer before sending more"
            )
        if self._tokens + _tokens(operation) > self._limits.waiting_tokens:
            raise ResourceExhausted(
                f"{self._tokens:,} tokens of this session are waiting already, and "
                f"{self._limits.waiting_tokens:,} are the most; wait for an answer before "
                "sending more"
            )

    def add(self, operation: Operation) -> None:
        """Add an operation at the end."""
        self._operations.append(operation)
        self._tokens += _tokens(operation)

    def read_state(self) -> None:
        """Read the state before the first operation that waits."""
        if not self._reads_state:
            self._operations.insert(0, ReadState())

    @property
    def _reads_state(self) -> bool:
        return bool(self._operations) and isinstance(self._operations[0], ReadState)

    def remove(self, operation: Operation) -> None:
        """Remove an operation."""
        self._operations.remove(operation)
        self._tokens -= _tokens(operation)

    def take(self) -> Operation:
        """Remove and return the first operation."""
        operation = self._operations[0]
        self.remove(operation)
        return operation

    def forget_end_of_stream(self) -> None:
        """Remove the close that stands for the end of a client's stream, if there is one."""
        if self.closing and self._operations[-1].id is None:
            self._operations.pop()

    def clear(self) -> None:
        """Remove all operations."""
        self._operations.clear()
        self._tokens = 0

    def check_integrity(self) -> None:
        """Raise AssertionError unless the count of tokens is right."""
        assert self._tokens == sum(map(_tokens, self._operations))


def _tokens(operation: Operation) -> int:
    """Return the number of tokens that an operation keeps in memory."""
    return len(operation.tokens) if isinstance(operation, Append | Score) else 0
