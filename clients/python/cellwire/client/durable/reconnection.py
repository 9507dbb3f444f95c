"""How a client gets back to a daemon that it has lost: how often, how long, and who hears of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from cellwire.client.errors import CellwireError, ResourceExhausted, Unavailable

RECONNECT_TIMEOUT_S = 60.0
"""How long a client tries to get back to its daemon by default."""

_FIRST_DELAY_S = 0.05
_MAX_DELAY_S = 2.0
# What gRPC makes of a connection that breaks, or of a proxy that breaks it.
_BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """A durable session has lost its daemon, and the client tries to get back."""

    session_id: str
    cause: CellwireError


@dataclass(frozen=True, slots=True)
class ConnectionRestored:
    """A durable session is back, with all that was under way."""

    session_id: str
    pause_s: float
    """How long it was lost."""


OnReconnect = Callable[[ConnectionLost | ConnectionRestored], object]


@dataclass(frozen=True, slots=True)
class Reconnection:
    """What a client does when a durable session has lost its daemon."""

    timeout_s: float = RECONNECT_TIMEOUT_S
    on_reconnect: OnReconnect | None = None


class Backoff:
    """How long to wait before each attempt, until a time is over; times are of a monotonic clock.

    Each delay is drawn, so that the clients of a daemon do not all come back at one moment.
    """

    def __init__(
        self, timeout_s: float, now_s: float, draw: Callable[[], float] = random.random
    ) -> None:
        self._end_s = now_s + timeout_s
        self._longest_s = _FIRST_DELAY_S
        self._draw = draw

    def left_s(self, now_s: float) -> float:
        """Return how much time is left."""
        return self._end_s - now_s

    def delay_s(self, error: CellwireError, now_s: float) -> float | None:
        """Return how long to wait after an error; None if the time is over before that.

        At least as long as the daemon asks for.
        """
        longest, self._longest_s = self._longest_s, min(self._longest_s * 2, _MAX_DELAY_S)
        delay_s = (error.retry_delay_s or 0) + longest * (0.5 + self._draw() / 2)
        return delay_s if delay_s < self.left_s(now_s) else None


def is_loss(error: CellwireError) -> bool:
    """Whether a stream has ended for want of a daemon or a connection, and not by its own fault."""
    if isinstance(error, Unavailable):
        return True
    # A status of the daemon itself names its reason.
    return not error.reason and error.code in _BROKEN


def is_hidden(error: CellwireError) -> bool:
    """Whether it may stand for any status: HAProxy makes a CANCELLED of a stream's."""
    return error.code is grpc.StatusCode.CANCELLED and not error.reason


def is_temporary(error: CellwireError) -> bool:
    """Whether a later attempt to attach may succeed."""
    full = isinstance(error, ResourceExhausted) and error.retry_delay_s is not None
    return full or is_loss(error)
