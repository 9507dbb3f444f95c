"""Kind T: text is read in serving as in training."""

import pytest

from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.text_end import BEGINNING
from cellwire.model_file.vocabulary import Vocabulary


def characters(symbols: str, **facts: object) -> Vocabulary:
    return Vocabulary.of(VocabularyFacts(kind="characters", symbols=tuple(symbols), **facts))  # type: ignore[arg-type]


def in_parts(vocabulary: Vocabulary, *parts: str) -> str:
    tokens: list[int] = []
    end = BEGINNING
    for part in parts:
        reading = vocabulary.read(part, after=end)
        tokens = tokens[: len(tokens) - len(end.tokens)] + reading.tokens.tolist()
        end = reading.end
    return vocabulary.text(tokens)[0]


def test_entities_and_breaks_are_read_as_in_training() -> None:
    assert in_parts(characters("ab& ", html=True), "a&am", "p;b<br ", "/>a") == "a&b a"


def test_a_byte_order_mark_and_crlf_are_mended() -> None:
    vocabulary = characters("ab\n", byte_order_mark="dropped", line_ends="line_feeds")
    assert in_parts(vocabulary, "\ufeffa\r", "\nb\ra") == "a\nb\na"


def test_line_ends_that_were_spaces_are_spaces() -> None:
    assert in_parts(characters("ab ", line_ends="spaces"), "a\r", "\nb\na") == "a b a"


def test_a_decomposed_letter_is_the_composed_one_wherever_it_is_cut() -> None:
    assert in_parts(characters("eé", unicode_form="NFC"), "e", "\u0301e") == "ée"


@pytest.mark.parametrize("cut", range(10))
def test_a_final_sigma_is_the_same_wherever_the_text_is_cut(cut: int) -> None:
    vocabulary = characters("οδυσες ", lower_case=True)
    text = "ΟΔΥΣΣΕΥΣ "
    assert in_parts(vocabulary, text[:cut], text[cut:]) == text.lower()


def test_offsets_are_in_what_the_client_sent() -> None:
    with pytest.raises(UnknownSymbol) as error:
        characters("eé", unicode_form="NFC").read("e\u0301" * 5 + "世")
    assert error.value.offset == 10
