"""The comparison of searches sees what a card may get wrong. Needs no card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.gpu.hypotheses import DEAD, Found, assert_same_searches, first_steps, found
from tests.server.tiny_cell import SYMBOLS

from cellwire.model_file.cell import Cell
from cellwire.server.batch.beam_step import BeamBatchResult
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.runtime.runtime import Runtime

BATCH = first_steps(2, 8, CompletionEnd(frozenset(range(5, len(SYMBOLS)))))
LOWEST = np.finfo(np.float64).min  # what CUDA's TopK fills a block up with, where there is no rank


@pytest.fixture(scope="module")
def result(cell: Cell) -> BeamBatchResult:
    return Runtime(cell, 40, 16).step_beams(BATCH)


def compare(expected: BeamBatchResult, ours: BeamBatchResult) -> None:
    assert_same_searches(found(BATCH, expected), found(BATCH, ours), within=1e-5)


def test_equal_searches_are_equal(result: BeamBatchResult) -> None:
    near = replace(result, log_probability=result.log_probability + 1e-6)
    compare(result, near)
    assert result.ended is not None
    assert (result.log_probability[0] == DEAD).any()


def test_a_dead_hypothesis_that_counts_is_seen(result: BeamBatchResult) -> None:
    log = np.where(result.log_probability == DEAD, LOWEST, result.log_probability)
    with pytest.raises((AssertionError, IndexError)):
        compare(result, replace(result, log_probability=log))


def test_an_end_that_is_none_is_seen(result: BeamBatchResult) -> None:
    ended = result.ended
    assert ended is not None
    worse = ended.log_probability.copy()
    worse[0, 0, -1] = DEAD if worse[0, 0, -1] > DEAD else LOWEST
    with pytest.raises((AssertionError, IndexError)):
        compare(result, replace(result, ended=replace(ended, log_probability=worse)))


def test_other_logs_and_another_greedy_row_are_seen(result: BeamBatchResult) -> None:
    with pytest.raises(AssertionError):
        compare(result, replace(result, log_probability=result.log_probability - 0.01))
    with pytest.raises(AssertionError):
        compare(result, replace(result, greedy=(result.greedy + 1) % 4))


def test_texts_at_the_edge_may_be_others() -> None:
    def only(**logs: float) -> list[list[Found]]:
        alive = {tuple(map(ord, text)): log for text, log in logs.items()}
        return [[Found(alive, {}, None)]]

    assert_same_searches(only(a=-1.0, b=-2.0), only(a=-1.0, c=-2.0), within=1e-5)
    with pytest.raises(AssertionError):
        assert_same_searches(only(a=-1.0, b=-2.0), only(b=-2.0, c=-2.0), within=1e-5)
