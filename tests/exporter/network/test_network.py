"""A network's inputs, one-hot or embedded, and its dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cellwire.exporter.network.network import Network, NetworkShape, OneHot


def test_one_hot_rows_are_those_of_the_identity() -> None:
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
def test_dropout_of_inputs_and_outputs_applies_in_training_only(where: str) -> None:
    shape = NetworkShape("lstm", 6, 32, hidden=32, layers=1, **{where: 0.5})  # type: ignore[arg-type]
    network, tokens = Network(shape), torch.tensor([[0, 5, 2, 2]])
    assert not torch.equal(network(tokens)[0], network(tokens)[0])
    network.eval()
    plain = Network(NetworkShape("lstm", 6, 32, hidden=32, layers=1))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(tokens)[0], plain(tokens)[0])


def test_parameters_are_counted() -> None:
    network = Network(NetworkShape("rnn", vocabulary=6, embedding=3, hidden=4, layers=1))
    assert network.parameter_count == 6 * 3 + (4 * 3 + 4 * 4 + 4 + 4) + (6 * 4 + 6)
    assert isinstance(network.embedding, nn.Embedding)
