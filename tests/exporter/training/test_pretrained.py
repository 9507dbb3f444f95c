from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.exporter.texts import vocabulary

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.training.pretrained import PretrainedEmbedding

DATA = Data(symbols="words")
WORDS = vocabulary(("<unk>", "good", "bad", "film"), DATA)
VECTORS = Vectors(("film", "zebra", "good"), np.array([[1, 2], [3, 4], [5, 6]], np.float32))


def test_words_are_looked_up_without_the_blank_before_them() -> None:
    words = vocabulary(("<unk>", " film", "film", "\n"), DATA)
    pretrained = PretrainedEmbedding.of(VECTORS, words, seed=None)
    assert pretrained.table.tolist() == [[0, 0], [1, 2], [1, 2], [0, 0]]


def test_words_get_their_vectors_and_missing_ones_zeros_if_frozen() -> None:
    pretrained = PretrainedEmbedding.of(VECTORS, WORDS, seed=None)
    assert pretrained.table.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2]]
    assert pretrained.known_words == 2


def test_missing_words_start_small_and_random_if_trainable() -> None:
    table = PretrainedEmbedding.of(VECTORS, WORDS, seed=1).table
    assert table[[1, 3]].tolist() == [[5, 6], [1, 2]]
    assert table[[0, 2]].abs().min() > 0
    assert table[[0, 2]].abs().max() < 0.5
    assert torch.equal(table, PretrainedEmbedding.of(VECTORS, WORDS, seed=1).table)


def test_vectors_without_any_word_of_the_text_are_refused() -> None:
    with pytest.raises(VectorsError, match="none of the text's words"):
        PretrainedEmbedding.of(VECTORS, vocabulary(("<unk>", "gut"), DATA), seed=None)
