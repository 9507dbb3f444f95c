"""Log-probabilities of tokens, on the text that they stand for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.client.fake.models import ALPHABET, JUDGE, WORDS

from cellwire.client.commands.chat.known import Known
from cellwire.client.commands.chat.surprise import Part, Surprise, level_of, parts_of
from cellwire.client.wire.answers import model_of

LETTERS, BYTES, OF_WORDS = (Known(model_of(model)) for model in (ALPHABET, JUDGE, WORDS))


@pytest.mark.parametrize(
    ("known", "text", "numbers", "expected"),
    [
        (LETTERS, "abc", [-1, -2, -3], [("a", -1), ("b", -2), ("c", -3)]),
        (LETTERS, "aÄb", [-1, -3], [("a", -1), ("Ä", 0), ("b", -3)]),
        (BYTES, "aé", [-1, -2, -3], [("a", -1), ("é", -5)]),
        (OF_WORDS, "red, green", [-1, -2, -3], [("red", -1), (",", -2), (" green", -3)]),
        (OF_WORDS, "a  b", [-1, -2], [("a", -1), ("  b", -2)]),
        (OF_WORDS, "don't go\n", [-1, -2, -3], [("don't", -1), (" go", -2), ("\n", -3)]),
        (LETTERS, "abcde", [-1, -3], [("abcde", -2)]),
        (LETTERS, "ÄÖ", [], [("Ä", 0), ("Ö", 0)]),
        (OF_WORDS, " ", [], [(" ", 0)]),
    ],
)
def test_tokens_are_told_apart_by_their_number(
    known: Known, text: str, numbers: list[float], expected: list[tuple[str, float]]
) -> None:
    parts = parts_of(text, numbers, known)
    assert [(part.text, part.log_probability) for part in parts] == expected
    assert "".join(part.text for part in parts) == text


def test_levels_are_bits() -> None:
    assert level_of(math.nan) == 0
    assert [level_of(-bits * math.log(2)) for bits in (0, 0.9, 1.1, 3.1, 6.1, 10.1)] == [
        0,
        0,
        1,
        2,
        3,
        4,
    ]


def test_surprise_is_that_of_the_text_as_far_as_it_is_the_same() -> None:
    surprise = Surprise()
    surprise.add("", [Part("ab", -0.1), Part("c", -100)])
    assert surprise.levels("abc") == [0, 0, 4]
    assert surprise.levels("abx") == [0, 0]
    assert surprise.levels("") == []
    surprise.add("xx", [Part("c", 0)])  # what is before is not known
    assert surprise.levels("abc") == [0, 0, 4]
    surprise.add("ab", [Part("d", -3)])
    assert surprise.levels("abd") == [0, 0, 2]
    assert surprise.known_length("abdef") == 3


def test_what_a_model_knows_is_what_it_reads() -> None:
    model = model_of(ALPHABET)
    lower = replace(model, vocabulary=replace(model.vocabulary, lower_case=True))
    assert Known(lower).unknown_in("aBÄ") == ["Ä"]
    nfd = replace(
        model,
        vocabulary=replace(
            model.vocabulary, unicode_form="NFD", symbols=("a", "\u0308", "\n", "Ω")
        ),
    )
    assert Known(nfd).unknown_in("äb") == ["b"]
    html = replace(model, vocabulary=replace(model.vocabulary, reads_html=True))
    assert Known(html).unknown_in("a &amp; b!") == ["!"]
    spaces = replace(model, vocabulary=replace(model.vocabulary, line_ends="spaces"))
    assert Known(spaces).unknown_in("a\nb") == []
    assert LETTERS.unknown_in("aÄbÄ\t") == ["Ä", "\t"]
    assert BYTES.unknown_in("Ä") == []
    assert OF_WORDS.unknown_in("a don't 12, red red. x re") == ["don't", "red"]
    assert OF_WORDS.unknown_in("a red", 4) == []
    assert OF_WORDS.unknown_in("a red ", 4) == ["red"]
