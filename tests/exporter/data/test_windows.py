"""The orders of windows, and their coverage of the text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.data.windows import Windows
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Order

sizes = st.integers(1, 40)
orders = st.sampled_from(["carried", "random", "shuffled_rows"])


@given(st.integers(2, 600), sizes, sizes, orders, st.integers(0, 9))
def test_every_order_uses_whole_windows_and_nothing_twice(
    tokens: int, lanes: int, window: int, order: Order, seed: int
) -> None:
    if tokens <= window:
        with pytest.raises(CorpusError, match="fewer than one window"):
            Windows.fit(tokens, lanes, window)
        return
    windows = Windows.fit(tokens, lanes, window)
    starts = windows.starts(tokens, order, np.random.default_rng(seed))
    assert starts.shape == (windows.batch_count(tokens), windows.lanes)
    assert len(starts) >= 1
    used = []
    for row in starts:
        inputs, targets = windows.cut(np.arange(tokens), row)
        assert inputs.shape == (windows.lanes, window)
        assert (targets == inputs + 1).all()
        used.append(inputs.flatten())
    assert len(np.unique(used)) == starts.size * window


@given(st.integers(100, 600), st.integers(1, 5), st.integers(1, 9), st.integers(0, 9))
def test_lanes_are_contiguous_and_shuffling_moves_whole_segments(
    tokens: int, lanes: int, window: int, seed: int
) -> None:
    windows = Windows.fit(tokens, lanes, window)
    carried = windows.carried_starts(tokens)
    shuffled = windows.starts(tokens, "shuffled_rows", np.random.default_rng(seed))
    for starts in (carried, shuffled):
        assert all((after == before + window).all() for before, after in pairwise(starts))
    assert sorted(shuffled[0]) == sorted(carried[0])


def test_random_windows_cover_the_text_over_the_epochs() -> None:
    windows, random = Windows(lanes=3, window=4), np.random.default_rng(0)
    first, second = (windows.starts(121, "random", random) for _ in range(2))
    assert sorted(first.flatten()) == sorted(second.flatten()) == list(range(0, 120, 4))
    assert (first != second).any()
