from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.model_file.words import (
    all_pieces,
    graphemes,
    in_word,
    offsets_of_pieces,
    pieces,
    pieces_with_blanks,
)

# Words, marks above U+FFFF, white space and other characters next to each other.
texts = st.text() | st.text("aé3_'\u2019\u0301\U00011001\U00020000 \n\x85!-歌")


def is_word_character(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character in "_'\u2019"


def test_words_are_cut_as_people_would() -> None:
    text = "It's 3.5 o'clock\u2014isn\u2019t it, L\u00e9a?\n(snake_case)"
    cut = ["It's", "3.5", "o'clock", "\u2014", "isn\u2019t", "it", ",", "L\u00e9a", "?"]
    assert pieces(text) == [*cut, "(", "snake_case", ")"]
    assert pieces("\U00020000\U00020001c 歌") == ["\U00020000", "\U00020001", "c", "歌"]


@given(st.characters(codec="utf-8"))
def test_words_are_of_letters_marks_numbers_underscores_and_apostrophes(character: str) -> None:
    assert in_word(character) is is_word_character(character)
    assert not in_word("")
    assert not in_word(2 * character)


@given(texts)
def test_pieces_join_to_the_text_and_know_their_offsets(text: str) -> None:
    assert "".join(all_pieces(text)) == text
    assert "".join(pieces_with_blanks(text)) == text
    assert "".join(graphemes(text)) == text
    assert pieces(text) == [piece for _, piece in offsets_of_pieces(text)]
    assert all(text.startswith(piece, offset) for offset, piece in offsets_of_pieces(text))


@given(texts, st.sampled_from([Unknown.SKIP, Unknown.REPLACE]))
def test_white_space_is_skipped_unless_a_symbol_holds_it(text: str, unknown: Unknown) -> None:
    symbols = ("<unk>", "a", "!")
    plain, spaced = (
        Vocabulary.of(VocabularyFacts("words", (*symbols, last), "<unk>", separator=" "))
        for last in ("b", "\n")
    )
    tokens = spaced.encode(text, unknown)
    assert plain.encode(text, unknown).tolist() == tokens[tokens != 3].tolist()
