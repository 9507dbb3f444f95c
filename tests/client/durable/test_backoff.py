"""How long a client waits before it comes back, by a clock of the test."""

from __future__ import annotations

import grpc
import pytest

from cellwire import client
from cellwire.client import CellwireError
from cellwire.client.durable.reconnection import Backoff, is_loss, is_temporary

LOST = client.Unavailable("lost")


def delays_s(error: CellwireError, draw: float, timeout_s: float) -> list[float]:
    """Let attempts fail at once, until the time is over."""
    now_s = 1000.0
    backoff = Backoff(timeout_s, now_s, lambda: draw)
    delays = []
    while (delay_s := backoff.delay_s(error, now_s)) is not None:
        delays.append(delay_s)
        now_s += delay_s
    return delays


def test_each_delay_is_longer_up_to_two_seconds() -> None:
    delays = delays_s(LOST, 1.0, timeout_s=10)
    assert delays[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert sum(delays) < 10


def test_a_delay_is_drawn() -> None:
    assert delays_s(LOST, 0.0, timeout_s=10)[:3] == [0.025, 0.05, 0.1]


def test_the_daemon_may_ask_for_more() -> None:
    later = client.Unavailable("draining", retry_delay_s=1.0)
    assert delays_s(later, 1.0, timeout_s=3) == [1.05, 1.1]


def test_the_time_that_is_left() -> None:
    backoff = Backoff(10, 1000.0)
    assert backoff.left_s(1004.0) == 6


def status(code: grpc.StatusCode, reason: str = "") -> CellwireError:
    error = CellwireError("found", reason=reason)
    error.code = code
    return error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (LOST, True),
        (status(grpc.StatusCode.INTERNAL), True),
        (status(grpc.StatusCode.UNKNOWN), True),
        (status(grpc.StatusCode.INTERNAL, "STEP_FAILED"), False),
        (client.NotFound("no session"), False),
        (client.Aborted("taken over"), False),
        (client.Cancelled("the client is closed", reason="CLIENT_CLOSED"), False),
    ],
)
def test_what_a_loss_is(error: CellwireError, lost: bool) -> None:  # noqa: FBT001  # a parameter
    assert is_loss(error) is lost
    assert is_temporary(error) is lost


def test_a_daemon_that_is_full_may_have_room_later() -> None:
    assert is_temporary(client.ResourceExhausted("full", retry_delay_s=1))
    assert not is_temporary(client.ResourceExhausted("too much waits"))
