from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.texts import vocabulary

from cellwire.exporter.data.vocabulary import (
    UNKNOWN_SYMBOL,
    WordList,
    count_tokens,
    decode,
    encode,
    facts_for,
    smallest_type,
    words_by_frequency,
)
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.vocabulary import Vocabulary

_WORDS = Data(symbols="words")


def test_an_unknown_character_is_named_with_its_offset() -> None:
    with pytest.raises(CorpusError) as error:
        encode(vocabulary("ab"), "abacus")
    assert str(error.value) == "unknown symbol 'c' at offset 3"


def test_tokens_are_indices_into_symbols_in_any_order() -> None:
    assert encode(vocabulary("zam"), "amz").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("size", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16), (70_000, np.uint32)]
)
def test_tokens_have_the_smallest_type(size: int, dtype: type) -> None:
    symbols = [chr(0x100 + number) for number in range(0, 2 * size, 2) if number < 0xD000]
    symbols += [chr(0x10000 + number) for number in range(size - len(symbols))]
    assert smallest_type(vocabulary(symbols)) == dtype
    assert encode(vocabulary(symbols), symbols[-1]).dtype == dtype


def test_the_most_frequent_words_are_known_if_they_come_twice() -> None:
    tally = Counter({" a": 3, "!": 2, " b": 2, " c": 1, " d": 1})
    assert words_by_frequency(tally, 9) == [UNKNOWN_SYMBOL, " a", " b", "!"]
    assert words_by_frequency(tally, 2) == [UNKNOWN_SYMBOL, " a", " b"]


def test_the_symbol_for_unknown_words_is_read_for_them() -> None:
    words = vocabulary([UNKNOWN_SYMBOL, "a", " a", "!"], _WORDS)
    assert encode(words, "a zebra a!").tolist() == [1, 0, 2, 3]
    assert decode(words, [1, 2, 3]) == "a a!"


def test_words_of_labelled_texts_have_no_blanks() -> None:
    facts = facts_for(Data(kind="labelled", symbols="words"), [UNKNOWN_SYMBOL, "good", "bad", ","])
    assert (facts.separator, facts.trim, facts.html) == (" ", True, True)
    assert encode(Vocabulary.of(facts), "  bad, not\ngood ").tolist() == [2, 3, 0, 1]


@given(st.lists(st.sampled_from("abcde")), st.integers(0, 9))
def test_words_are_counted_in_the_part_that_is_trained_on(words: list[str], first: int) -> None:
    kept = WordList()
    kept.extend(words[:3])
    kept.extend(words[3:])
    assert len(kept) == len(words)
    assert +kept.tally(first) == Counter(words[:first])


@given(st.lists(st.integers(0, 9)))
def test_tokens_are_counted(tokens: list[int]) -> None:
    counts = count_tokens(np.array(tokens, np.uint8), 10)
    assert counts.tolist() == [tokens.count(number) for number in range(10)]
