from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.data.vocabulary import (
    UNKNOWN_SYMBOL,
    character_vocabulary,
    decode,
    encode,
    make_vocabulary,
    word_vocabulary,
)
from cellwire.exporter.errors import CorpusError


@given(st.text(min_size=1))
def test_encoded_text_decodes_to_itself(text: str) -> None:
    vocabulary = character_vocabulary(text)
    tokens = encode(vocabulary, text)
    assert len(tokens) == len(text)
    assert decode(vocabulary, tokens) == text


@given(st.text(min_size=1), st.characters(codec="utf-8"), st.text())
def test_an_unknown_character_is_named_with_its_offset(known: str, new: str, more: str) -> None:
    known = known.replace(new, "") or ("a" if new != "a" else "b")
    with pytest.raises(CorpusError) as error:
        encode(character_vocabulary(known), known + new + more)
    assert str(error.value) == f"unknown symbol {new!r} at offset {len(known)}"


def test_characters_are_in_code_point_order() -> None:
    assert character_vocabulary("b歌a😀\n").facts.symbols == ("\n", "a", "b", "歌", "😀")


def test_tokens_are_indices_into_symbols_in_any_order() -> None:
    assert encode(make_vocabulary("characters", "zam"), "amz").tolist() == [1, 2, 0]


def test_texts_are_lower_cased_if_the_vocabulary_is() -> None:
    vocabulary = character_vocabulary("Ab", lower_case=True)
    assert vocabulary.facts.symbols == ("a", "b")
    assert encode(vocabulary, "BA").tolist() == [1, 0]


def test_the_most_frequent_words_are_kept_and_the_rest_is_unknown() -> None:
    words = word_vocabulary(["b a c a", "b a ! ? !"], 3, lower_case=True)
    assert words.facts.symbols == (UNKNOWN_SYMBOL, "a", "!", "b")
    assert encode(words, "A c b zebra !").tolist() == [1, 0, 3, 0, 2]
    assert decode(words, [1, 0, 3]) == f" a {UNKNOWN_SYMBOL} b"


def test_a_vocabulary_is_made_again_from_its_symbols() -> None:
    words = word_vocabulary(["one two"], 9)
    assert make_vocabulary("words", words.facts.symbols).facts == words.facts
    characters = character_vocabulary("AB", lower_case=True)
    assert make_vocabulary("characters", "ab", lower_case=True).facts == characters.facts
