from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.errors import CorpusError
from cellwire.exporter.vocabulary import Vocabulary


@given(st.text(min_size=1))
def test_what_is_encoded_decodes_to_itself(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    assert len(ids) == len(text)
    assert vocabulary.decode(ids) == text


@given(st.text(min_size=1), st.characters(codec="utf-8"), st.text())
def test_an_unknown_symbol_is_named_with_its_offset(known: str, new: str, more: str) -> None:
    known = known.replace(new, "") or ("a" if new != "a" else "b")
    with pytest.raises(CorpusError) as error:
        Vocabulary.of(known).encode(known + new + more)
    assert str(error.value) == f"unknown symbol {new!r} at offset {len(known)}"


def test_symbols_are_in_code_point_order() -> None:
    assert Vocabulary.of("b歌a😀\n").symbols == ("\n", "a", "b", "歌", "😀")


def test_ids_are_places_in_symbols_whatever_their_order() -> None:
    assert Vocabulary(("z", "a", "m")).encode("amz").tolist() == [1, 2, 0]
