"""A model's text to begin with."""

from __future__ import annotations

import pytest

from cellwire.client import Vocabulary


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [
        (Vocabulary("bytes", 256), "\n"),
        (Vocabulary("characters", 3, ("a", "\n", "b")), "\n"),
        (Vocabulary("characters", 3, (".", "b", "a")), "b"),
        (Vocabulary("words", 3, ("<unk>", ",", "red"), unknown_symbol="<unk>"), "red"),
        (Vocabulary("words", 3, ("<unk>", ",", " red"), unknown_symbol="<unk>"), " red"),
        (Vocabulary("words", 2, ("un", ","), unknown_symbol="un"), ","),
        (Vocabulary("words", 3), ""),
    ],
)
def test_a_text_to_begin_with(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.beginning == text
