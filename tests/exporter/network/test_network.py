"""What a network reads: one-hot symbols, an embedding, word vectors; and where dropout falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.data.vocabulary import make_vocabulary
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.network.network import Network, NetworkShape, OneHot
from cellwire.exporter.training.pretrained import PretrainedEmbedding

WORDS = make_vocabulary("words", ("<unk>", "good", "bad", "film"))
VECTORS = Vectors(("film", "zebra", "good"), np.array([[1, 2], [3, 4], [5, 6]], np.float32))


def test_one_hot_symbols_have_a_single_one() -> None:
    rows = OneHot(4)(torch.tensor([[0, 3], [2, 2]]))
    assert torch.equal(rows, torch.eye(4)[torch.tensor([[0, 3], [2, 2]])])
    assert OneHot(4).double()(torch.tensor([1])).dtype == torch.float64


def test_a_one_hot_network_equals_one_whose_embedding_is_one_hot() -> None:
    torch.manual_seed(0)
    one_hot = Network(NetworkShape("gru", 6, None, hidden=5, layers=1))
    embedded = Network(NetworkShape("gru", 6, 6, hidden=5, layers=1))
    embedded.load_state_dict({**one_hot.state_dict(), "embedding.weight": torch.eye(6)})
    tokens = torch.tensor([[0, 5, 2, 2]])
    torch.testing.assert_close(one_hot(tokens)[0], embedded(tokens)[0])


@pytest.mark.parametrize("where", ["dropout_inputs", "dropout_outputs"])
def test_dropout_of_inputs_and_outputs_is_for_learning_only(where: str) -> None:
    shape = NetworkShape("lstm", 6, 32, hidden=32, layers=1, **{where: 0.5})  # type: ignore[arg-type]
    network, tokens = Network(shape), torch.tensor([[0, 5, 2, 2]])
    assert not torch.equal(network(tokens)[0], network(tokens)[0])
    network.eval()
    plain = Network(NetworkShape("lstm", 6, 32, hidden=32, layers=1))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(tokens)[0], plain(tokens)[0])


def test_words_get_their_vectors_and_frozen_ones_zeros_where_there_is_none() -> None:
    pretrained = PretrainedEmbedding.of(VECTORS, WORDS, seed=None)
    assert pretrained.table.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2]]
    assert pretrained.known_words == 2


def test_words_without_a_vector_start_small_and_random_where_they_learn() -> None:
    table = PretrainedEmbedding.of(VECTORS, WORDS, seed=1).table
    assert table[[1, 3]].tolist() == [[5, 6], [1, 2]]
    assert table[[0, 2]].abs().min() > 0
    assert table[[0, 2]].abs().max() < 0.5
    assert torch.equal(table, PretrainedEmbedding.of(VECTORS, WORDS, seed=1).table)


def test_vectors_of_another_language_are_refused() -> None:
    with pytest.raises(VectorsError, match="none of the text's words"):
        PretrainedEmbedding.of(VECTORS, make_vocabulary("words", ("<unk>", "gut")), seed=None)


def test_what_it_has_learnt_is_counted() -> None:
    network = Network(NetworkShape("rnn", vocabulary=6, embedding=3, hidden=4, layers=1))
    assert network.parameter_count == 6 * 3 + (4 * 3 + 4 * 4 + 4 + 4) + (6 * 4 + 6)
    assert isinstance(network.embedding, nn.Embedding)
