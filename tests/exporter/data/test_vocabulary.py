from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.data.vocabulary import UNKNOWN, Characters, Words, pieces, vocabulary_of
from cellwire.exporter.errors import CorpusError
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Unknown, Vocabulary


@given(st.text(min_size=1))
def test_what_is_encoded_decodes_to_itself(text: str) -> None:
    vocabulary = Characters.of(text)
    ids = vocabulary.encode(text)
    assert len(ids) == len(text)
    assert vocabulary.decode(ids) == text


@given(st.text(min_size=1), st.characters(codec="utf-8"), st.text())
def test_an_unknown_symbol_is_named_with_its_offset(known: str, new: str, more: str) -> None:
    known = known.replace(new, "") or ("a" if new != "a" else "b")
    with pytest.raises(CorpusError) as error:
        Characters.of(known).encode(known + new + more)
    assert str(error.value) == f"unknown symbol {new!r} at offset {len(known)}"


def test_symbols_are_in_code_point_order() -> None:
    assert Characters.of("b歌a😀\n").symbols == ("\n", "a", "b", "歌", "😀")


def test_ids_are_places_in_symbols_whatever_their_order() -> None:
    assert Characters(("z", "a", "m")).encode("amz").tolist() == [1, 2, 0]


def test_texts_are_lower_cased_where_the_vocabulary_is() -> None:
    assert Characters.of("Ab", lower_case=True).symbols == ("a", "b")
    assert Characters.of("Ab", lower_case=True).encode("BA").tolist() == [1, 0]


def test_words_are_cut_as_people_would() -> None:
    text = "It's 3.5 o'clock\u2014isn\u2019t it, L\u00e9a?\n(snake_case)"
    cut = ["It's", "3", ".", "5", "o'clock", "\u2014", "isn\u2019t", "it", ",", "L\u00e9a", "?"]
    assert pieces(text) == [*cut, "(", "snake_case", ")"]
    assert pieces("\U00020000\U00020001c 歌") == ["\U00020000\U00020001c", "歌"]


def test_the_most_frequent_words_are_kept_and_the_rest_is_unknown() -> None:
    words = Words.of(["b a c a", "b a ! ? !"], 3, lower_case=True)
    assert words.symbols == (UNKNOWN, "a", "!", "b")
    assert words.encode("A c b zebra !").tolist() == [1, 0, 3, 0, 2]
    assert words.decode([1, 0, 3]) == f" a {UNKNOWN} b"


def test_a_vocabulary_is_made_again_from_its_symbols() -> None:
    words = Words.of(["one two"], 9)
    assert vocabulary_of("words", list(words.symbols), lower_case=False) == words
    assert vocabulary_of("characters", "ab", lower_case=True) == Characters(
        ("a", "b"), lower_case=True
    )


@given(text=st.text(), lower_case=st.booleans())
def test_words_are_cut_and_numbered_as_the_daemon_does_it(text: str, *, lower_case: bool) -> None:
    ours = Words.of([text, "some more words"], 5, lower_case=lower_case)
    theirs = Vocabulary.of(
        VocabularyFacts("words", ours.symbols, UNKNOWN, lower_case, separator=ours.separator)
    )
    read = theirs.encode(text, Unknown.REPLACE)
    assert ours.encode(text).tolist() == read.tolist()
    assert ours.decode(read.tolist()) == theirs.text(read.tolist())[0]
