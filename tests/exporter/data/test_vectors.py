from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellwire.exporter.data.vectors import COMMITTED, Neighbour, Vectors
from cellwire.exporter.errors import VectorsError

SQUARE = b"east 1 0\nnorth 0 1\nwest -1 0\nnortheast 2 2\n"


@pytest.fixture(scope="module")
def glove() -> Vectors:
    return Vectors.read(COMMITTED)


def read(folder: Path, data: bytes) -> Vectors:
    path = folder / "vectors.txt"
    path.write_bytes(data)
    return Vectors.read(path)


def test_a_line_is_a_word_and_its_numbers(tmp_path: Path) -> None:
    vectors = read(tmp_path, "the 0.5 -1\n\xa0\x85 2e-3 4\n東風 0 0".encode())
    assert vectors.words == ("the", "\xa0\x85", "東風")
    assert vectors.values.dtype == np.float32
    assert vectors.values.tolist() == [[0.5, -1], [np.float32(2e-3), 4], [0, 0]]


def test_neighbours_are_ranked_by_angle_and_not_by_length(tmp_path: Path) -> None:
    vectors = read(tmp_path, SQUARE)
    near, far = vectors.neighbours("east", 2)
    assert near.word == "northeast"
    assert near.cosine == pytest.approx(0.5**0.5)
    assert far == Neighbour("north", 0)
    assert [found.word for found in vectors.neighbours("east", 9)] == ["northeast", "north", "west"]


def test_an_analogy_leaves_out_the_words_of_the_query(tmp_path: Path) -> None:
    vectors = read(tmp_path, SQUARE)
    (found,) = vectors.analogy("east", "north", "west", 9)
    assert found.word == "northeast"


def test_a_vector_of_zeros_has_cosine_0_with_all(tmp_path: Path) -> None:
    found = read(tmp_path, b"a 0 0\nb 1 1\n").neighbours("a", 5)
    assert found == (Neighbour("b", 0),)


def test_king_without_man_with_woman_is_queen(glove: Vectors) -> None:
    assert glove.values.shape == (5000, 50)
    assert glove.analogy("man", "king", "woman", 1)[0].word == "queen"
    assert glove.analogy("france", "paris", "germany", 1)[0].word == "berlin"


def test_similar_words_are_near(glove: Vectors) -> None:
    assert {found.word for found in glove.neighbours("king", 10)} >= {"prince", "queen"}
    assert "tuesday" in {found.word for found in glove.neighbours("monday", 5)}


def test_an_unknown_word_is_named_with_similar_spellings(glove: Vectors) -> None:
    with pytest.raises(VectorsError, match=r"no vector for 'quen'; similar spellings: queen"):
        glove.neighbours("quen", 5)
    with pytest.raises(VectorsError, match=r"no vector for 'xqzzk'$"):
        glove.analogy("king", "xqzzk", "queen", 5)


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", 1, "no word with numbers"),
        (b"the\n", 1, "no word with numbers"),
        (b" 1 2\n", 1, "no word with numbers"),
        (b"the 1 2\n\nand 1 2\n", 2, "no word with numbers"),
        (b"the 1 2\nand 1\n", 2, "1 numbers, and 2 in line 1"),
        (b"5000 2\nand 1 2\n", 2, "2 numbers, and 1 in line 1"),
        (b"the 1 2\nand 1 two\n", 2, "could not convert string to float: 'two'"),
        (b"the 1 2\nand 1  2\n", 2, "3 numbers, and 2 in line 1"),
        (b"the 1 2\nand 1 nan\n", 2, "not finite"),
        (b"the 1 1e39\n", 1, "not finite"),
        (b"the 1 2\nand 1 2\nthe 3 4\n", 3, "'the' is already in line 1"),
        (b"the 1 2\n\xff\xfe 1 2\n", 2, "can't decode byte 0xff"),
    ],
)
def test_a_broken_file_is_refused_with_the_line_and_the_reason(
    tmp_path: Path, data: bytes, line: int, reason: str
) -> None:
    with pytest.raises(VectorsError, match=rf"vectors\.txt, line {line}: .*{reason}"):
        read(tmp_path, data)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VectorsError, match=r"none\.txt: No such file or directory"):
        Vectors.read(tmp_path / "none.txt")
