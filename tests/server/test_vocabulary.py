"""Symbols to tokens and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.errors import UnknownSymbol
from cellwire.server.vocabulary import Vocabulary

SYMBOLS = st.lists(st.characters(codec="utf-8"), min_size=2, unique=True).map(tuple)


@given(SYMBOLS, st.data())
def test_what_is_encoded_comes_back(symbols: tuple[str, ...], data: st.DataObject) -> None:
    vocabulary = Vocabulary(symbols)
    text = data.draw(st.text(st.sampled_from(symbols)))
    assert "".join(symbols[token] for token in vocabulary.encode(text)) == text


@given(SYMBOLS, st.text(st.characters(codec="utf-8")))
def test_the_first_unknown_symbol_is_named(symbols: tuple[str, ...], text: str) -> None:
    strangers = [(offset, c) for offset, c in enumerate(text) if c not in symbols]
    if not strangers:
        Vocabulary(symbols).encode(text)
        return
    with pytest.raises(UnknownSymbol) as caught:
        Vocabulary(symbols).encode(text)
    assert (caught.value.offset, caught.value.symbol) == strangers[0]
