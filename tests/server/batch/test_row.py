"""Rows combined into a batch: each keeps its own parameters."""

from __future__ import annotations

import pytest

from cellwire.server.batch.row import Row, batch_of
from cellwire.server.batch.sampling import Bias, Sampling

PLAIN = Row(1, 2, 3)


def row_with(sampling: Sampling) -> Row:
    return PLAIN._replace(sampling=sampling)


@pytest.mark.parametrize("adjusted_first", [False, True])
def test_a_batch_has_the_parameters_of_all_its_rows(adjusted_first: bool) -> None:  # noqa: FBT001
    rows = [PLAIN, row_with(Sampling(top_p=0.5))._replace(top_token_count=4)]
    batch = batch_of(rows[::-1] if adjusted_first else rows, 1)
    assert batch.top_token_count == 4
    assert batch.adjustments is not None
    assert batch.adjustments.top_p.tolist() == ([0.5, 1] if adjusted_first else [1, 0.5])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_p=0.5),
        Sampling(min_p=0.5),
        Sampling(repetition_penalty=2),
        Sampling(logit_bias=(Bias(1, 1),)),
    ],
)
def test_parameters_beyond_temperature_and_top_k_are_adjustments(sampling: Sampling) -> None:
    assert batch_of([row_with(sampling)], 1).adjustments is not None
    assert batch_of([PLAIN, row_with(Sampling(0.5, top_k=3))], 1).adjustments is None


def test_a_greedy_row_takes_the_likeliest_whatever_its_top_k() -> None:
    rows = [Row(1, 2, 3, sampling=Sampling(0, top_k=5)), Row(1, 2, 4, sampling=Sampling(top_k=5))]
    assert batch_of(rows, steps=2).top_k.tolist() == [1, 5]


def test_penalty_and_bias_of_one_token_are_one_change() -> None:
    sampling = Sampling(repetition_penalty=2, logit_bias=(Bias(5, 1.5), Bias(6, -2)))
    adjustments = batch_of([PLAIN, row_with(sampling)._replace(recent=(4, 5, 4))], 1).adjustments
    assert adjustments is not None
    columns = adjustments.row, adjustments.token, adjustments.penalty, adjustments.bias
    changes = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert changes == [(1, 4, 2, 0), (1, 5, 2, 1.5), (1, 6, 1, -2)]
