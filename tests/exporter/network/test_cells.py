"""Cells follow their equations and carry their state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cellwire.exporter.network.cell import Cell, CellSize
from cellwire.exporter.network.cells.mingru import MinGruLayer
from cellwire.exporter.network.cells.rnn_by_hand import RnnLayer
from cellwire.exporter.network.kinds import KINDS, Kind, cell_kind


def make_cell(kind: Kind, hidden: int, layers: int, dropout: float = 0.0) -> Cell:
    return cell_kind(kind).make_module(CellSize(5, hidden, layers, dropout))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_reading_in_two_parts_equals_reading_at_once(kind: Kind, layers: int) -> None:
    torch.manual_seed(0)
    cell = make_cell(kind, hidden=7, layers=layers).double()
    inputs = torch.randn(3, 11, 5, dtype=torch.float64)
    whole, after = cell(inputs)
    first, state = cell(inputs[:, :4])
    second, last = cell(inputs[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert len(after) == len(last) == len(cell_kind(kind).state_names)
    for tensor, in_parts in zip(after, last, strict=True):
        assert tensor.shape == (layers, 3, 7)
        torch.testing.assert_close(tensor, in_parts)


def test_the_layer_by_hand_equals_torchs() -> None:
    layer, torch_rnn = RnnLayer(5, 7), nn.RNN(5, 7, batch_first=True)
    torch_rnn.load_state_dict(
        {
            f"{name.replace('W', 'weight').replace('b_', 'bias_')}_l0": weights
            for name, weights in layer.state_dict().items()
        }
    )
    inputs, h = torch.randn(3, 9, 5), torch.randn(3, 7)
    torch.testing.assert_close(layer(inputs, h), torch_rnn(inputs, h[None])[0])


@pytest.mark.parametrize("time", [1, 2, 7, 64])
def test_the_scan_of_a_minimal_gru_equals_its_steps(time: int) -> None:
    layer = MinGruLayer(5, 7)
    inputs, h = torch.randn(3, time, 5), torch.randn(3, 7)
    expected = []
    before = h
    for x in inputs.unbind(1):
        z = torch.sigmoid(layer.gate(x))
        before = (1 - z) * before + z * layer.candidate(x)
        expected.append(before)
    torch.testing.assert_close(layer(inputs, h), torch.stack(expected, 1))


def test_forget_gates_start_open() -> None:
    cell = make_cell("lstm", hidden=7, layers=2)
    for layer in range(2):
        assert (cell.state_dict()[f"layers.bias_ih_l{layer}"][7:14] == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_applies_in_training_only(kind: Kind) -> None:
    cell = make_cell(kind, hidden=64, layers=2, dropout=0.5)
    inputs = torch.randn(2, 3, 5)
    assert not torch.equal(cell(inputs)[0], cell(inputs)[0])
    cell.eval()
    assert torch.equal(cell(inputs)[0], cell(inputs)[0])
