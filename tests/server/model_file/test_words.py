from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from uniseg.wordbreak import words

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.model_file.words import (
    all_pieces,
    in_word,
    pieces,
    pieces_with_blanks,
    settled_places,
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
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(all_pieces(text)) == text
    assert "".join(pieces_with_blanks(text)) == text
    # A mark that follows white space is a piece by itself where white space is left out.
    visible = (piece.lstrip() for piece in all_pieces(" ".join(text.split())))
    assert pieces(" ".join(text.split())) == [piece for piece in visible if piece]


# Marks at the beginning of a line, numbers, flags, families, Hebrew quotes, kana, Hangul jamo.
LINE = st.text(
    "aé3_'\u2019\".,:;!\u0301\u200d\u00ad\U0001f1e9\U0001f1ea\U0001f468\U0001f469\u2764\ufe0f"
    "\U0001f3fb世ひカー한\u1112\u1161กำ\u0915\u094dא\u05f4\u0600\U0001f600\u200b",
    max_size=12,
)


@settings(max_examples=300)
@given(st.lists(LINE, max_size=3).map("\n".join))
def test_words_are_those_of_another_library(text: str) -> None:
    assert all_pieces(text) == list(words(text))


@settings(max_examples=300)
@given(LINE, LINE)
def test_what_is_before_a_settled_place_stays_and_the_rest_is_cut_alone(
    text: str, more: str
) -> None:
    for text_with_space in (text, text + "\n", text.replace("!", " ")):
        whole = pieces_with_blanks(text_with_space + more)
        for place in settled_places(text_with_space):
            before = pieces_with_blanks(text_with_space[:place])
            after = pieces_with_blanks(text_with_space[place:] + more)
            assert before + after == whole


@given(texts, st.sampled_from([Unknown.SKIP, Unknown.REPLACE]))
def test_white_space_is_skipped_unless_a_symbol_holds_it(text: str, unknown: Unknown) -> None:
    symbols = ("<unk>", "a", "!")
    plain, spaced = (
        Vocabulary.of(VocabularyFacts("words", (*symbols, last), "<unk>", separator=" "))
        for last in ("b", "\n")
    )
    tokens = spaced.encode(text, unknown)
    assert plain.encode(text, unknown).tolist() == tokens[tokens != 3].tolist()
