"""How many steps a stride may have."""

from __future__ import annotations

import pytest

from cellwire.server.pace import Pace
from cellwire.server.step import MAX_STEPS


@pytest.mark.parametrize(
    ("steps", "elapsed_s", "affordable"),
    [(8, 0.001, MAX_STEPS), (4, 0.010, 4), (2, 0.004, 5), (1, 0.1, 2), (1, 0.0, MAX_STEPS)],
)
def test_a_stride_takes_about_ten_milliseconds(
    steps: int, elapsed_s: float, affordable: int
) -> None:
    pace = Pace()
    assert pace.steps == MAX_STEPS
    pace.note(steps, elapsed_s)
    assert pace.steps == affordable


def test_no_stride_says_nothing() -> None:
    pace = Pace()
    pace.note(2, 0.010)
    pace.note(0, 5.0)
    assert pace.steps == 2
