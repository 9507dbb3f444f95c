"""A text reads the same however it is cut, over scripts, Unicode forms and manifests."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.server.model_file.texts import TEXT, vocabularies

from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import (
    BEGINNING,
    MAX_REREAD_TOKENS,
    SETTLED,
    TextEnd,
    Unknown,
    Vocabulary,
)

CUTS = st.lists(st.integers(0, 20), max_size=6)


def cut(text: str, places: Sequence[int]) -> list[str]:
    """Cut a text at places."""
    ends = sorted({min(place, len(text)) for place in (0, *places, len(text))})
    return [text[start:end] for start, end in pairwise(ends)]


def read_in_parts(
    vocabulary: Vocabulary, parts: Sequence[str], unknown: Unknown = Unknown.REJECT
) -> list[int]:
    """Read parts one after the other, each with the end before it, as a session does."""
    tokens: list[int] = []
    end = BEGINNING
    for part in parts:
        expected = list(end.tokens)
        assert tokens[len(tokens) - len(expected) :] == expected
        reading = vocabulary.read(part, unknown, end)
        if not vocabulary.rereads:
            assert reading.tokens.tolist()[: len(expected)] == expected
        tokens[len(tokens) - len(expected) :] = reading.tokens.tolist()
        end = reading.end
    return tokens


@settings(max_examples=200)
@given(vocabularies(), TEXT, CUTS)
def test_a_text_cut_anywhere_reads_as_the_whole(
    vocabulary: Vocabulary, text: str, places: list[int]
) -> None:
    for unknown in (Unknown.SKIP, Unknown.REPLACE):
        whole = vocabulary.read(text, unknown)
        assert read_in_parts(vocabulary, cut(text, places), unknown) == whole.tokens.tolist()


@settings(max_examples=200)
@given(vocabularies(), TEXT, CUTS)
def test_no_part_of_a_known_text_is_refused(
    vocabulary: Vocabulary, text: str, places: list[int]
) -> None:
    try:
        whole = vocabulary.read(text)
    except UnknownSymbol:
        return
    assert read_in_parts(vocabulary, cut(text, places)) == whole.tokens.tolist()


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (VocabularyFacts("words", (" ", "Roses", " are", "can't", "3.5")), "Roses are"),
        (VocabularyFacts("words", ("Roses", "can't", "3.5", " ")), "can't"),
        (
            VocabularyFacts("words", ("<unk>", "Roses", "3.5"), unknown="<unk>", separator=" "),
            "3.5",
        ),
        (VocabularyFacts("characters", ("\u00e9", "x"), unicode_form="NFC"), "e\u0301x"),
        (VocabularyFacts("characters", ("<", "x"), html=True), "&lt;x"),
        (VocabularyFacts("characters", ("<eos>", "x")), "<eos>x"),
        (
            VocabularyFacts("words", ("\u03bf\u03c3\u03bf", " "), lower_case=True),
            "\u039f\u03a3\u039f",
        ),
    ],
)
def test_half_a_symbol_is_not_refused_before_it_is_whole(facts: VocabularyFacts, text: str) -> None:
    vocabulary = Vocabulary.of(facts)
    assert read_in_parts(vocabulary, text) == vocabulary.encode(text).tolist() != []
    half = vocabulary.read(text[:1]).end
    with pytest.raises(UnknownSymbol):
        vocabulary.check_end(half)
    with pytest.raises(UnknownSymbol):
        vocabulary.encode(text[:1])  # nothing follows
    with pytest.raises(UnknownSymbol):
        vocabulary.read(" ", after=half)


@settings(max_examples=200)
@given(vocabularies(), TEXT, CUTS)
def test_an_unknown_symbol_is_where_it_was_sent(
    vocabulary: Vocabulary, text: str, places: list[int]
) -> None:
    end, sent = BEGINNING, ""
    for part in cut(text, places):
        try:
            end = vocabulary.read(part, after=end).end
        except UnknownSymbol as error:
            check_place(vocabulary, sent + part, len(sent), error)
            return
        sent += part


def check_place(vocabulary: Vocabulary, text: str, sent: int, error: UnknownSymbol) -> None:
    """Check an error of reading `text`, of which `sent` characters had been read before."""
    with pytest.raises(UnknownSymbol) as caught:
        vocabulary.read(text)
    of_whole = caught.value
    assert error.symbol == of_whole.symbol
    assert error.others == of_whole.others
    assert error.symbol not in error.others
    assert error.offset == max(0, of_whole.offset - sent)
    from_there = vocabulary.clean(text[of_whole.offset :], beginning=False)
    # A Unicode form may take apart what was one character, and put the unknown part second.
    assert error.symbol in from_there[: len(error.symbol) + 3] or vocabulary.facts.trim


@settings(max_examples=200)
@given(vocabularies(), TEXT)
def test_a_text_without_unknown_symbols_comes_back_as_it_was_read(
    vocabulary: Vocabulary, text: str
) -> None:
    try:
        reading = vocabulary.read(text)
    except UnknownSymbol:
        return
    tokens, facts = reading.tokens.tolist(), vocabulary.facts
    written, _ = vocabulary.text(tokens)
    if facts.separator:
        assert vocabulary.encode(written).tolist() == tokens
    elif vocabulary.unknown_token not in tokens:
        if vocabulary.waiting_blank(reading.end):
            written += " "
        assert in_form(vocabulary, written) == vocabulary.clean(text)


def in_form(vocabulary: Vocabulary, text: str) -> str:
    """Return a text in the Unicode form and the case of a vocabulary."""
    if vocabulary.facts.unicode_form:
        text = unicodedata.normalize(vocabulary.facts.unicode_form, text)
    return text.lower() if vocabulary.facts.lower_case else text


@settings(max_examples=200)
@given(vocabularies(foreign=False), st.data())
def test_what_a_model_writes_can_be_read(vocabulary: Vocabulary, data: st.DataObject) -> None:
    writable = [t for t in range(len(vocabulary)) if t != vocabulary.unknown_token]
    tokens = data.draw(st.lists(st.sampled_from(writable), max_size=12))
    text, _ = vocabulary.text(tokens)
    reading = vocabulary.read(text)
    again, _ = vocabulary.text(reading.tokens.tolist())
    if vocabulary.waiting_blank(reading.end):
        again += " "
    if vocabulary.unknown_token not in reading.tokens and vocabulary.facts.kind != "bytes":
        assert in_form(vocabulary, again) == vocabulary.clean(text)


@given(vocabularies(), TEXT, CUTS)
def test_what_is_settled_can_be_read_by_itself(
    vocabulary: Vocabulary, text: str, places: list[int]
) -> None:
    assume(not vocabulary.facts.trim)  # white space would be left out at the ends of each block
    tokens: list[int] = []
    rest, beginning = "", True
    for part in cut(text, places):  # as the exporter reads a corpus in blocks
        rest += part
        settled = vocabulary.settled_length(rest, beginning=beginning)
        if settled:
            end = TextEnd(beginning=beginning)
            tokens += vocabulary.read(rest[:settled], Unknown.SKIP, end).tokens.tolist()
            rest, beginning = rest[settled:], False
    end = TextEnd(beginning=beginning)
    tokens += vocabulary.read(rest, Unknown.SKIP, end).tokens.tolist()
    assert tokens == vocabulary.encode(text, Unknown.SKIP).tolist()


def test_an_end_that_is_too_long_is_settled_as_it_was_read() -> None:
    words = Vocabulary.of(VocabularyFacts("words", ("ab", "a")))
    assert words.read("a" * MAX_REREAD_TOKENS).end.tokens == (1,) * MAX_REREAD_TOKENS
    assert words.read("a" * (MAX_REREAD_TOKENS + 1)).end == SETTLED
    assert words.read("x" * 1_025, Unknown.SKIP).end == SETTLED


def test_plain_characters_and_bytes_have_no_end_to_read_again() -> None:
    for vocabulary in (
        Vocabulary.of(VocabularyFacts("characters", ("a", "b", "\n"))),
        Vocabulary.of(VocabularyFacts("bytes")),
    ):
        assert not vocabulary.rereads
        assert vocabulary.read("ab\n").end == SETTLED
