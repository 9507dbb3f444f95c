"""Symbols to tokens and back: characters, bytes, words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.model_file.errors import TextError, UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts, parse_manifest
from cellwire.model_file.vocabulary import Unknown, Vocabulary

SYMBOLS = st.lists(st.characters(codec="utf-8"), min_size=2, unique=True).map(tuple)
TEXT = st.text(st.characters(codec="utf-8"))


def characters(*symbols: str, **facts: object) -> Vocabulary:
    return Vocabulary.of(VocabularyFacts("characters", symbols, **facts))  # type: ignore[arg-type]


BYTES = Vocabulary.of(VocabularyFacts("bytes"))


@given(SYMBOLS, st.data())
def test_what_is_encoded_comes_back(symbols: tuple[str, ...], data: st.DataObject) -> None:
    vocabulary = characters(*symbols)
    text = data.draw(st.text(st.sampled_from(symbols)))
    assert vocabulary.text(vocabulary.encode(text).tolist()) == (text, 0)


@given(SYMBOLS, TEXT)
def test_the_first_unknown_symbol_is_named(symbols: tuple[str, ...], text: str) -> None:
    strangers = [(offset, c) for offset, c in enumerate(text) if c not in symbols]
    if not strangers:
        characters(*symbols).encode(text)
        return
    with pytest.raises(UnknownSymbol) as caught:
        characters(*symbols).encode(text)
    assert (caught.value.offset, caught.value.symbol) == strangers[0]


@given(SYMBOLS, TEXT)
def test_unknown_symbols_are_left_out_or_replaced(symbols: tuple[str, ...], text: str) -> None:
    vocabulary = characters(*symbols, "<?>", unknown="<?>")
    skipped = vocabulary.encode(text, Unknown.SKIP).tolist()
    replaced = vocabulary.encode(text, Unknown.REPLACE).tolist()
    assert vocabulary.text(skipped)[0] == "".join(c for c in text if c in symbols)
    assert vocabulary.text(replaced)[0] == "".join(c if c in symbols else "<?>" for c in text)


def test_a_symbol_of_several_characters_is_read_by_its_name() -> None:
    vocabulary = characters("a", "<s>", "<", "s", ">")
    assert vocabulary.encode("a<s><s").tolist() == [0, 1, 2, 3]
    assert vocabulary.text([1, 0]) == ("<s>a", 0)


def test_marks_are_parts_of_words() -> None:
    words = Vocabulary.of(VocabularyFacts("words", ("cafe\u0301", "हिन्दी", " ", "!")))
    assert words.encode("हिन्दी cafe\u0301!").tolist() == [1, 2, 0, 3]
    assert characters("\u0301", "ा", "\u2019", "-").between_words == {3}


def test_texts_are_normalised_as_the_manifest_says() -> None:
    vocabulary = characters("é", "a", lower_case=True, unicode_form="NFC")
    assert vocabulary.encode("E\u0301A").tolist() == [0, 1]


@given(TEXT, st.data())
def test_bytes_come_out_whole_however_they_are_cut(text: str, data: st.DataObject) -> None:
    tokens = BYTES.encode(text).tolist()
    assert bytes(tokens) == text.encode()
    written = ""
    waiting: list[int] = []
    while tokens:
        cut = data.draw(st.integers(1, len(tokens)))
        waiting, tokens = waiting + tokens[:cut], tokens[cut:]
        part, incomplete = BYTES.text(waiting)
        written += part
        waiting = waiting[len(waiting) - incomplete :]
    assert (written, waiting) == (text, [])


@given(st.binary())
def test_bytes_that_are_no_text_never_wait_for_long(data: bytes) -> None:
    text, incomplete = BYTES.text(list(data))
    assert incomplete <= 3
    assert text == data[: len(data) - incomplete].decode(errors="replace")


@pytest.mark.parametrize("byte", [0x80, 0xC0, 0xC1, 0xF5, 0xF8, 0xFF])
def test_a_byte_that_begins_no_character_does_not_wait(byte: int) -> None:
    assert BYTES.text([byte]) == ("\ufffd", 0)


def test_bytes_of_letters_and_of_all_but_ascii_are_in_words() -> None:
    assert BYTES.in_words >= {*b"az09_'", *range(128, 256)}
    assert BYTES.between_words >= {*b" .\n"}


def test_only_a_model_of_bytes_reads_bytes() -> None:
    assert BYTES.encode_bytes(b"\xff\x00").tolist() == [255, 0]
    with pytest.raises(TextError, match="reads characters"):
        characters("a", "b").encode_bytes(b"a")


def test_words_and_what_is_between_them() -> None:
    vocabulary = Vocabulary.of(VocabularyFacts("words", ("don't", "stop", " ", ".", "<unk>")))
    tokens = vocabulary.encode("don't stop.")
    assert tokens.tolist() == [0, 2, 1, 3]
    assert vocabulary.text(tokens.tolist()) == ("don't stop.", 0)
    with pytest.raises(UnknownSymbol) as caught:
        vocabulary.encode("stop it")
    assert (caught.value.symbol, caught.value.offset) == ("it", 5)
    assert vocabulary.in_words == {0, 1}


def test_words_without_white_space_have_a_separator() -> None:
    vocabulary = Vocabulary.of(VocabularyFacts("words", ("go", "on"), separator=" "))
    assert vocabulary.encode("go  on\n").tolist() == [0, 1]
    assert vocabulary.text([0, 1]) == (" go on", 0)


def test_a_space_that_is_a_symbol_is_read_in_spite_of_a_separator() -> None:
    facts = VocabularyFacts("words", ("go", " ", "<unk>"), unknown="<unk>", separator="_")
    vocabulary = Vocabulary.of(facts)
    assert vocabulary.encode("go go").tolist() == [0, 1, 0]
    assert vocabulary.in_words == {0, 2}  # what stands for an unknown word is one


@pytest.mark.parametrize(
    ("vocabulary", "fault"),
    [
        ({"kind": "characters", "symbols": ["a"]}, "fewer than two"),
        ({"kind": "characters", "symbols": ["a", "a"]}, "twice"),
        ({"kind": "words", "symbols": ["a", ""]}, "symbol 1 is empty"),
        ({"kind": "bytes", "symbols": ["a", "b"]}, "no symbols of its own"),
        ({"kind": "words", "symbols": ["a", "b"], "unknown": "c"}, "'c', is not among them"),
        ({"kind": "characters", "symbols": ["a", "b"], "unicode_form": "NFX"}, "NFX"),
    ],
)
def test_a_wrong_manifest_is_refused(vocabulary: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_manifest(json.dumps({"version": 1, "vocabulary": vocabulary}))
