from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from tests.exporter.texts import corpus_of

from cellwire.exporter.data.corpus import Corpus, Split
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"")
    with pytest.raises(CorpusError, match=r"text\.txt: the file is empty"):
        Corpus.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="No such file"):
        Corpus.read(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match="a directory, and training needs a file"):
        Corpus.read(tmp_path)
    with pytest.raises(CorpusError, match="a device"):
        Corpus.read(Path("/dev/null"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorpusError, match="a pipe"):
        Corpus.read(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(CorpusError, match="a socket"):
            Corpus.read(tmp_path / "s")


def test_a_recipe_may_select_the_first_part() -> None:
    corpus = corpus_of("ab\ncd\nef")
    assert "".join(corpus.blocks(Data())) == "ab\ncd\nef"
    assert "".join(corpus.blocks(Data(first_characters=4))) == "ab\nc"
    assert "".join(corpus.blocks(Data(first_characters=99))) == "ab\ncd\nef"


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


@pytest.mark.parametrize("length", [2, 10, 29])
def test_parts_of_less_than_two_characters_are_refused(length: int) -> None:
    with pytest.raises(CorpusError, match="too few"):
        Split.of(np.arange(length), 0.05)
