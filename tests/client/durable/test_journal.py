"""A session that is cut off and whose daemon is killed at every point, against the plain model."""

from __future__ import annotations

import os

import pytest
from tests.client.durable.trial import Trial

TRIALS = int(os.environ.get("JOURNAL_TRIALS", "3000"))
STEPS = 120

# What only one seed in thousands does.
CANCELLED_BEFORE_ITS_LAST_ATTEMPT = 2929
ENDED_BEFORE_AN_ACCEPT = 4363
ENDED_WHEN_ALL_IS_SAFE = 4824
CANCELLED_BEFORE_WHAT_IS_LOST = 15836


@pytest.mark.parametrize("first", range(0, TRIALS, 500))
def test_what_its_callers_are_told_is_what_an_uninterrupted_session_tells(first: int) -> None:
    for seed in range(first, min(first + 500, TRIALS)):
        try:
            Trial(seed).run(STEPS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("first", range(0, TRIALS // 2, 500))
def test_checkpoints_are_kept_and_restored_as_by_an_uninterrupted_session(first: int) -> None:
    for seed in range(first, min(first + 500, TRIALS // 2)):
        try:
            Trial(seed, checkpoints=True).run(STEPS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize(
    "seed",
    [
        CANCELLED_BEFORE_ITS_LAST_ATTEMPT,
        ENDED_BEFORE_AN_ACCEPT,
        ENDED_WHEN_ALL_IS_SAFE,
        CANCELLED_BEFORE_WHAT_IS_LOST,
    ],
)
def test_rare_orders(seed: int) -> None:
    Trial(seed).run(STEPS)
