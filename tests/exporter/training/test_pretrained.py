from __future__ import annotations

import numpy as np
import pytest
import torch

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.data.vocabulary import make_vocabulary
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.training.pretrained import PretrainedEmbedding

WORDS = make_vocabulary("words", ("<unk>", "good", "bad", "film"))
VECTORS = Vectors(("film", "zebra", "good"), np.array([[1, 2], [3, 4], [5, 6]], np.float32))


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
        PretrainedEmbedding.of(VECTORS, make_vocabulary("words", ("<unk>", "gut")), seed=None)
