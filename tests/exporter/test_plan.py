"""Windows follow each other; plans fit the text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.corpus import Windows
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.plan import Plan

sizes = st.integers(1, 40)


@given(st.integers(2, 600), sizes, sizes)
def test_windows_follow_each_other_and_use_nothing_twice(
    chars: int, lanes: int, window: int
) -> None:
    if chars <= window:
        with pytest.raises(CorpusError, match="fewer than one window"):
            Windows.fitting(chars, lanes, window)
        return
    windows = Windows.fitting(chars, lanes, window)
    cut = list(windows.cut(np.arange(chars)))
    assert len(cut) == windows.count(chars) >= 1
    for inputs, targets in cut:
        assert inputs.shape == (windows.lanes, window)
        assert (targets == inputs + 1).all()
    for (before, _), (after, _) in pairwise(cut):
        assert (after[:, 0] == before[:, -1] + 1).all()
    used = np.concatenate([inputs.flatten() for inputs, _ in cut])
    assert len(np.unique(used)) == len(used)


def test_cutting_can_begin_at_any_window() -> None:
    windows = Windows(lanes=3, window=4)
    ids = np.arange(100)
    whole = [inputs.tolist() for inputs, _ in windows.cut(ids)]
    assert [inputs.tolist() for inputs, _ in windows.cut(ids, 5)] == whole[5:]


@given(st.integers(2, 10**7))
def test_any_text_gets_enough_steps(chars: int) -> None:
    plan = Plan.fitting(chars)
    assert plan.steps >= 1_000
    assert plan.epochs >= 10


@given(st.integers(2, 2_000), sizes, sizes, sizes)
def test_what_was_asked_for_stays_but_for_lanes_that_do_not_fit(
    chars: int, lanes: int, window: int, epochs: int
) -> None:
    window = min(window, chars - 1)
    plan = Plan.fitting(chars, lanes, window, epochs)
    assert (plan.windows.window, plan.epochs) == (window, epochs)
    assert 1 <= plan.windows.lanes <= lanes
    assert plan.epoch_steps >= 1
    assert plan.jitter - 1 + plan.epoch_chars == chars  # the last start still has its whole epoch
    # A run keeps what was chosen, and resuming chooses again.
    assert Plan.fitting(chars, plan.windows.lanes, window, epochs) == plan


def test_the_built_in_model_keeps_its_recipe() -> None:
    plan = Plan.fitting(3_823_786, 64, 128, 15)
    assert (plan.windows, plan.jitter, plan.steps) == (Windows(64, 128), 128, 6_990)


def test_short_texts_get_fewer_lanes_and_more_epochs() -> None:
    lyrics = Plan.fitting(55_898)
    assert (lyrics.windows, lyrics.epochs) == (Windows(8, 128), 19)
    page = Plan.fitting(475)
    assert (page.windows, page.steps) == (Windows(8, 29), 1_000)
