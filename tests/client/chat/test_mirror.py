"""A session is brought to any text, by rewinds to places that its answers have named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.client.commands.chat.mirror import START, Mirror, Place, common_length
from cellwire.client.commands.chat.reading import Reading, reading_of
from cellwire.client.model import Vocabulary

CHARACTERS, WORDS = Reading(by_words=False), Reading(by_words=True)


def mirror(reading: Reading, *pieces: tuple[str, int] | tuple[str, int, int]) -> Mirror:
    """A session that was given these texts, and its answers: offsets, replaced tokens."""
    mirror = Mirror(reading)
    for piece in pieces:
        mirror.added(*piece)
    return mirror


@given(st.text("abé \n", max_size=50), st.text("abé \n", max_size=50))
def test_the_common_length(one: str, other: str) -> None:
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or one == other


def test_what_is_missing_of_a_longer_text() -> None:
    session = mirror(CHARACTERS, ("ab", 2))
    assert session.missing("abc") == "c"
    assert session.missing("ab") == ""
    assert session.missing("a") is None
    assert session.missing("xb") is None


def test_characters_go_back_to_the_last_place_that_is_known() -> None:
    session = mirror(CHARACTERS, ("a", 1), ("bcd", 4), ("e", 5))
    assert session.place_before("abcd") == Place(4, 4)
    assert session.place_before("abc") == Place(1, 1)
    assert session.place_before("x") == START
    session.rewound(Place(1, 1))
    assert (session.text, session.offset) == ("a", 1)


def test_a_place_within_a_character_is_none() -> None:
    session = mirror(CHARACTERS, ("e", 1), ("\u0301", 2), ("x", 3))
    assert session.place_before("e") == START
    assert session.place_before("e\u0301") == Place(2, 2)


def test_words_go_back_to_before_the_blank() -> None:
    # " re" is another word than " red": its offset is the same, and its place none any more.
    session = mirror(WORDS, ("the", 1), (" r", 2), ("e", 2, 1), ("d", 2, 1), (" x", 3))
    assert session.place_before("the red") == Place(7, 2)
    assert session.place_before("the re") == Place(3, 1)
    assert session.place_before("the") == Place(3, 1)
    assert session.place_before("th") == START


def test_places_that_were_read_again_are_forgotten() -> None:
    session = mirror(CHARACTERS, ("&", 1), ("am", 3), ("p;", 1, 3))
    assert session.place_before("&am") == START


def test_scripts_without_blanks_are_cut_between_ideographs() -> None:
    session = mirror(WORDS, ("東", 1), ("風", 2), ("夜", 3))
    assert session.place_before("東風") == Place(2, 2)


def test_old_places_are_forgotten() -> None:
    session = mirror(CHARACTERS, *[("a", offset) for offset in range(1, 5_001)])
    assert session.place_before("a" * 4_999) == Place(4_999, 4_999)
    assert session.place_before("a") == START


@pytest.mark.parametrize(
    ("vocabulary", "by_words"),
    [
        (Vocabulary("characters", 9), False),
        (Vocabulary("bytes", 9), False),
        (Vocabulary("words", 9), True),
        (Vocabulary("characters", 9, rereads=True), True),
    ],
)
def test_which_models_read_by_words(vocabulary: Vocabulary, *, by_words: bool) -> None:
    assert reading_of(vocabulary).by_words == by_words


@given(st.text(st.sampled_from("ab \n\u0301👩\u200d世"), max_size=400), st.integers(1, 60))
def test_pieces_are_the_text_and_cut_no_character(text: str, repeat: int) -> None:
    rest = text * repeat
    pieces = []
    while rest:
        piece = WORDS.next_piece(rest)
        assert 0 < len(piece) <= 16_384
        assert CHARACTERS.may_cut(rest, len(piece)) or len(piece) <= 64
        pieces.append(piece)
        rest = rest[len(piece) :]
    assert "".join(pieces) == text * repeat


def test_the_end_of_a_text_is_sent_in_small_pieces() -> None:
    rest, lengths = "one two " * 10_000, []
    while rest:
        piece = WORDS.next_piece(rest)
        lengths.append(len(piece))
        rest = rest[len(piece) :]
        assert not rest or rest[0] == " "
    assert lengths[0] > 8_000
    assert max(lengths[-20:]) <= 64


def test_a_long_word_is_cut_between_characters() -> None:
    piece = CHARACTERS.next_piece("e\u0301" * 100)
    assert piece == "e\u0301" * 32
    assert len(CHARACTERS.next_piece("x" * 100)) == 64
