"""The number of steps that a run may have."""

from __future__ import annotations

import pytest

from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.step_budget import StepBudget


@pytest.mark.parametrize(
    ("steps", "elapsed_s", "steps_after"),
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
def test_a_run_takes_ten_milliseconds_or_has_few_steps(
    steps: int, elapsed_s: float, steps_after: int
) -> None:
    budget = StepBudget()
    assert budget.steps == MAX_STEPS
    budget.record(steps, elapsed_s)
    assert budget.steps == steps_after


def test_a_run_of_no_steps_has_no_effect() -> None:
    budget = StepBudget()
    budget.record(5, 0.020)
    budget.record(0, 5.0)
    assert budget.steps == 5


def test_only_a_second_slow_run_lowers_the_budget() -> None:
    budget = StepBudget()
    budget.record(16, 0.001)
    budget.record(16, 3.0)
    assert budget.steps == MAX_STEPS
    budget.record(16, 3.0)
    assert budget.steps == 4
