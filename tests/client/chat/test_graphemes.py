"""User-perceived characters are one character each, whoever made them up."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cellwire.client.commands.chat.graphemes import (
    grapheme_end,
    grapheme_start,
    graphemes,
    is_boundary,
    shown,
    width,
    word_end,
    word_start,
)

CHARACTERS = [
    "👨‍👩‍👧",
    "🇩🇪",
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "❤️",
    "👍🏽",
    "e\u0301",
    "각",
    "\u1100\u1161\u11a8",
    "क्षि",
    "ก็",
    "\r\n",
    "a",
    "世",
]


@pytest.mark.parametrize("character", CHARACTERS)
def test_the_character_before_and_after_a_place_is_whole(character: str) -> None:
    text = f"x{character}y"
    end = 1 + len(character)
    assert grapheme_start(text, end) == 1
    assert grapheme_end(text, 1) == end
    assert [is_boundary(text, place) for place in range(len(text) + 1)] == [
        place in {0, 1, end, end + 1} for place in range(len(text) + 1)
    ]


@given(st.text(st.sampled_from("ab \n\u0301\u200d👩🇩🇪世ᄀ\U000e0067"), max_size=600), st.data())
def test_boundaries_are_those_of_the_whole_text(text: str, data: st.DataObject) -> None:
    ends = [0]
    for one in graphemes(text):
        ends.append(ends[-1] + len(one))
    place = data.draw(st.sampled_from(ends))
    assert is_boundary(text, place)
    assert grapheme_end(text, place) == min((end for end in ends if end > place), default=place)
    if len(text) < 500:  # beyond, a text without white space is looked at in part
        assert grapheme_start(text, place) == max((end for end in ends if end < place), default=0)


def test_at_the_ends_of_a_text_there_is_nothing_more() -> None:
    assert grapheme_start("", 0) == grapheme_end("", 0) == 0
    assert grapheme_end("ab", 2) == 2


def test_a_long_text_is_looked_at_from_near_the_place() -> None:
    text = "ab " * 10_000 + "é👨‍👩‍👧"
    assert grapheme_start(text, len(text)) == len(text) - 5
    assert grapheme_start("x" * 5_000, 5_000) == 4_999


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("one two", 4),
        ("one two  ", 4),
        ("one two,", 7),
        ("don't", 0),
        ("東風夜", 2),
        ("   ", 0),
        ("", 0),
        ("one\ntwo", 4),
    ],
)
def test_a_word_begins_where_people_see_it(text: str, start: int) -> None:
    assert word_start(text, len(text)) == start


@pytest.mark.parametrize(("text", "end"), [("one two", 3), ("  one two", 5), ("", 0), (" ", 1)])
def test_a_word_ends_where_people_see_it(text: str, end: int) -> None:
    assert word_end(text, 0) == end


@given(st.characters(exclude_categories=["Cs"]))
def test_no_character_reaches_the_terminal_that_could_control_it(character: str) -> None:
    sign = shown(character)[0]
    assert sign
    assert not any(unicodedata.category(one) in {"Cc", "Zl", "Zp"} for one in sign)
    assert not any(unicodedata.category(one) == "Cf" for one in sign) or character in "\u200c\u200d"
    assert width(character) == cell_len(sign) > 0


def test_signs_are_told_from_text() -> None:
    assert shown("\x1b") == ("␛", True)
    assert shown("\x7f") == ("␡", True)
    assert shown("\x9b") == ("�", True)
    assert shown("\u202e") == ("·", True)
    assert shown("\u2028") == ("↵", True)
    assert shown("\u0301") == ("◌\u0301", True)
    assert shown("👨‍👩‍👧") == ("👨‍👩‍👧", False)
    assert shown("\t") == ("    ", False)
