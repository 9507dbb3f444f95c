"""The remembered end of a text: its length and its offsets."""

from __future__ import annotations

import pytest

from cellwire.server.batch.limits import MAX_REWIND_WINDOW, REMEMBERED_TOKENS
from cellwire.server.state.text_history import MAX_REMEMBERED, TextHistory, token_bytes


def test_only_tokens_before_the_remembered_ones_are_forgotten() -> None:
    history = TextHistory()
    whole = [offset % 251 for offset in range(MAX_REMEMBERED + REMEMBERED_TOKENS // 2)]
    for length, token in enumerate(whole, start=1):
        history.extend([token])
        assert len(history) == length
        assert length - history.start >= min(length, REMEMBERED_TOKENS)
    assert history.start == REMEMBERED_TOKENS
    for one in (history, history.copy()):
        start = one.start
        assert start == REMEMBERED_TOKENS
        assert one.last(9).tolist() == whole[-9:]
        assert one[len(whole) - 3] == whole[-3]
        assert one.between(0, start + 2).tolist() == whole[start : start + 2]
        assert one.between(start - 2, start + 2).tolist() == whole[start : start + 2]
        assert not one.between(0, start - 2)


def test_a_short_text_is_remembered_completely() -> None:
    assert TextHistory(0, (1, 2, 3, 4)).last(6).tolist() == [1, 2, 3, 4]


def test_a_copy_is_independent() -> None:
    history = TextHistory(70, range(20))
    copy = history.copy()
    copy.truncate(83)
    copy.extend([9])
    assert len(copy) == 84
    assert copy.last(3).tolist() == [11, 12, 9]
    assert history.last(3).tolist() == [17, 18, 19]


def test_a_rewind_leaves_at_least_the_promised_tokens_remembered() -> None:
    history = TextHistory()
    history.extend([1] * MAX_REMEMBERED)
    assert history.start == 0
    history.extend([1])
    history.truncate(len(history) - MAX_REWIND_WINDOW)
    assert len(history) - history.start >= REMEMBERED_TOKENS


@pytest.mark.parametrize(
    ("token", "size"), [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4)]
)
def test_a_token_takes_the_bytes_that_it_needs(token: int, size: int) -> None:
    assert token_bytes(token + 1) == size
    begun, grown = TextHistory(5, [1, token]), TextHistory(5, [1])
    grown.extend([token])
    for history in (begun, grown, grown.copy()):
        assert history.last(2).itemsize == size
        history.extend([7, 300, 70_000, 3])
        assert history.last(6).tolist() == [1, token, 7, 300, 70_000, 3]
        assert (history.start, history.length) == (5, 11)
