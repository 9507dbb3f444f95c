"""How many steps a stride may have."""

from __future__ import annotations

import pytest

from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.step_budget import StepBudget


@pytest.mark.parametrize(
    ("steps", "elapsed_s", "affordable"),
    [
        (8, 0.001, MAX_STEPS),
        (1, 0.0, MAX_STEPS),
        (16, 0.012, 13),  # ten milliseconds' worth
        (8, 0.008, 10),
        (8, 0.015, 8),
        (6, 0.020, 6),  # twenty milliseconds' worth
        (4, 0.016, 5),
        (1, 0.1, 4),
    ],
)
def test_a_stride_takes_ten_milliseconds_or_has_few_steps(
    steps: int, elapsed_s: float, affordable: int
) -> None:
    pace = StepBudget()
    assert pace.steps == MAX_STEPS
    pace.record(steps, elapsed_s)
    assert pace.steps == affordable


def test_no_stride_says_nothing() -> None:
    pace = StepBudget()
    pace.record(5, 0.020)
    pace.record(0, 5.0)
    assert pace.steps == 5


def test_one_slow_stride_says_nothing_two_do() -> None:
    pace = StepBudget()
    pace.record(16, 0.001)
    pace.record(16, 3.0)
    assert pace.steps == MAX_STEPS
    pace.record(16, 3.0)
    assert pace.steps == 4
