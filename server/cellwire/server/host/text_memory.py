"""The memory for texts: those that sessions remember, and those that wait in operations.

A session's own limits allow 64 operations and a million tokens that wait, and 163,840 tokens that
are remembered. Thousands of sessions could have all that at once; this bounds their sum.
"""

from __future__ import annotations

from collections import deque

from cellwire.server.errors import ResourceExhausted
from cellwire.server.session.events import (
    Appended,
    CheckpointRestored,
    Event,
    Finished,
    Rejected,
    Rewound,
    Scored,
)
from cellwire.server.session.operations import Append, Fork, Generate, Operation, Score
from cellwire.server.state.text_history import MAX_REMEMBERED, token_bytes

MIB = 2**20

_STOP_TOKEN_BYTES = 36  # a number in a tuple
_CHARACTER_BYTES = 4
_BIAS_BYTES = 150


class TextMemory:
    """How much memory the texts of a daemon take, of how much they may take."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0

    def check_room(self, more_bytes: int = 0) -> None:
        """Raise ResourceExhausted if texts may not grow, by this much at least."""
        if self.used_bytes + more_bytes <= self.most_bytes and self.used_bytes < self.most_bytes:
            return
        raise ResourceExhausted(
            f"the texts of this daemon's sessions and waiting operations take "
            f"{self.used_bytes / MIB:,.1f} of {self.most_bytes / MIB:,.1f} MiB; wait for answers, "
            "close sessions that are not needed, then try again (its --text-memory allows more)"
        )


class SessionText:
    """One session's part of that memory. Used in the event loop only."""

    __slots__ = ("_closed", "_memory", "_token_bytes", "_waiting_bytes", "remembered_bytes")

    def __init__(self, memory: TextMemory, symbols: int) -> None:
        """Count a text of so many different symbols."""
        self._memory = memory
        self._token_bytes = token_bytes(symbols)
        self._closed = False
        self.remembered_bytes = 0
        self._waiting_bytes: dict[int, deque[int]] = {}  # by operation

    def submit(self, operation: Operation) -> None:
        """Count an operation until its answer; ResourceExhausted if there is no room for it."""
        cost_bytes = _cost_bytes(operation)
        if isinstance(operation, Append | Generate | Score | Fork):
            copied_bytes = self.remembered_bytes if isinstance(operation, Fork) else 0
            self._memory.check_room(cost_bytes + copied_bytes)
        if cost_bytes and not self._closed:
            self._waiting_bytes.setdefault(operation.id or 0, deque()).append(cost_bytes)
            self._memory.used_bytes += cost_bytes

    def check_room(self, more_bytes: int) -> None:
        """Raise ResourceExhausted if there is no room for so much more text."""
        self._memory.check_room(more_bytes)

    def receive(self, event: Event) -> None:
        """Follow what an event says of the text and of the operations that wait."""
        match event:
            case Appended() | Finished() | Rewound() | CheckpointRestored():
                self.set_length(event.offset)
                self._answered(event.operation_id)
            case Scored() | Rejected():
                self._answered(event.operation_id)

    def set_length(self, tokens: int) -> None:
        """Count a text of this length; no more than a session remembers."""
        if not self._closed:
            before_bytes, self.remembered_bytes = (
                self.remembered_bytes,
                self._token_bytes * min(tokens, MAX_REMEMBERED),
            )
            self._memory.used_bytes += self.remembered_bytes - before_bytes

    def close(self) -> None:
        """Count nothing any more."""
        self._closed = True
        waiting_bytes = sum(map(sum, self._waiting_bytes.values()))
        self._memory.used_bytes -= self.remembered_bytes + waiting_bytes
        self.remembered_bytes = 0
        self._waiting_bytes = {}

    def _answered(self, operation_id: int) -> None:
        costs = self._waiting_bytes.get(operation_id)
        if costs:
            self._memory.used_bytes -= costs.popleft()
            if not costs:
                del self._waiting_bytes[operation_id]


def _cost_bytes(operation: Operation) -> int:
    """Return how much memory an operation takes while it waits and runs; 0 if that is little."""
    match operation:
        case Append() | Score():
            return operation.tokens.nbytes
        case Generate():
            stops = sum(map(len, operation.stop_strings))
            texts = sum(map(len, operation.stop_texts))
            biases = len(operation.sampling.logit_bias)
            return _STOP_TOKEN_BYTES * stops + _CHARACTER_BYTES * texts + _BIAS_BYTES * biases
        case _:
            return 0
