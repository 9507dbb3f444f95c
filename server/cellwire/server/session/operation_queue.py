"""The operations of a session that wait for their turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cellwire.server.errors import FailedPrecondition, ResourceExhausted
from cellwire.server.session.operations import Append, Close, Operation, Score


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may hold."""

    waiting_operations: int = 64
    waiting_tokens: int = 1_000_000
    read_ahead_tokens: int = 1_024  # generated before the reader has taken any


class OperationQueue:
    """A queue, bounded in operations and in text; nothing comes after a close."""

    __slots__ = ("_chars", "_limits", "_operations")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._operations: list[Operation] = []  # a deque takes ten times the room when empty
        self._chars = 0

    def __len__(self) -> int:
        """Return how many operations wait."""
        return len(self._operations)

    def __iter__(self) -> Iterator[Operation]:
        """Iterate over the operations in their order."""
        return iter(self._operations)

    @property
    def closing(self) -> bool:
        """Whether a close is the last of them."""
        return bool(self._operations) and isinstance(self._operations[-1], Close)

    def check_room(self, operation: Operation) -> None:
        """Raise Full or WrongState if the operation may not wait here."""
        if self.closing:
            raise FailedPrecondition("the session is closing; nothing comes after close")
        if isinstance(operation, Close):
            return
        if len(self._operations) >= self._limits.waiting_operations:
            raise ResourceExhausted(
                f"{len(self._operations)} operations of this session are waiting already; "
                "wait for an answer before sending more"
            )
        if self._chars + _chars(operation) > self._limits.waiting_tokens:
            raise ResourceExhausted(
                f"{self._chars:,} characters of this session are waiting already, and "
                f"{self._limits.waiting_tokens:,} may; wait for an answer before sending more"
            )

    def add(self, operation: Operation) -> None:
        """Let an operation wait, after all others."""
        self._operations.append(operation)
        self._chars += _chars(operation)

    def remove(self, operation: Operation) -> None:
        """Let an operation wait no longer."""
        self._operations.remove(operation)
        self._chars -= _chars(operation)

    def take(self) -> Operation:
        """Remove and return the operation whose turn it is."""
        operation = self._operations[0]
        self.remove(operation)
        return operation

    def forget_end_of_stream(self) -> None:
        """Remove the close that stood for the end of a client's stream, if there is one."""
        if self.closing and self._operations[-1].id is None:
            self._operations.pop()

    def clear(self) -> None:
        """Remove all of them."""
        self._operations.clear()
        self._chars = 0

    def check_integrity(self) -> None:
        """Raise AssertionError unless the text was counted right."""
        assert self._chars == sum(map(_chars, self._operations))


def _chars(operation: Operation) -> int:
    """Return how much text is kept while an operation waits."""
    return len(operation.tokens) if isinstance(operation, Append | Score) else 0
