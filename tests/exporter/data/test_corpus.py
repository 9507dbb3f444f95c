from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellwire.exporter.data.corpus import Corpus, Split
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"aaaa", "at least two different symbols"),
        (b"caf\xe9", "not UTF-8 (byte 3 is 0xe9)"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_refused(
    tmp_path: Path, raw: bytes, complaint: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(raw)
    with pytest.raises(CorpusError) as error:
        Corpus.read(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="No such file"):
        Corpus.read(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match="directory"):
        Corpus.read(tmp_path)


def test_newlines_are_universal_and_the_byte_order_mark_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert Corpus.read(path).text == "a\nb\nc\n"


def test_the_last_part_is_held_out() -> None:
    split = Split.of(np.arange(100), 0.05)
    assert split.train.tolist() == list(range(95))
    assert split.validation.tolist() == list(range(95, 100))


def test_training_may_be_limited_to_the_end_of_its_part() -> None:
    split = Split.of(np.arange(100), 0.05, last_tokens=20)
    assert split.train.tolist() == list(range(75, 95))
    assert split.validation.tolist() == list(range(95, 100))
    assert len(Split.of(np.arange(100), 0.05, last_tokens=500).train) == 95


def test_holding_out_is_optional() -> None:
    split = Split.of(np.arange(10), 0)
    assert (len(split.train), len(split.validation)) == (10, 0)


def test_a_recipe_may_select_the_first_part_without_line_ends() -> None:
    corpus = Corpus("text.txt", "ab\ncd\nef", "")
    assert corpus.select(Data()) == "ab\ncd\nef"
    assert corpus.select(Data(first_characters=4, newlines="spaces")) == "ab c"


@pytest.mark.parametrize("length", [2, 10, 29])
def test_parts_of_less_than_two_characters_are_refused(length: int) -> None:
    with pytest.raises(CorpusError, match="too few"):
        Split.of(np.arange(length), 0.05)
