"""The cell keeps the contract, and computes what torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from cellwire.exporter.cells import CharacterLstm
from cellwire.exporter.fold import FoldedLstm
from cellwire.exporter.graph import lstm_cell
from cellwire.exporter.int8 import HIDDEN_LEVELS, HIDDEN_ZERO, WEIGHT_LEVELS, Int8Weights

MakeModel = Callable[[int], CharacterLstm]
Arrays = dict[str, npt.NDArray[np.float32]]


def run(cell: onnx.ModelProto, tokens: npt.NDArray[np.int64]) -> list[Arrays]:
    """Run over tokens `[steps, batch]` from zero states."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        cell.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    outputs: list[Arrays] = []
    for row in tokens:
        states = {
            name.removeprefix("next_"): outputs[-1][name]
            if outputs
            else np.zeros((len(row), 24), np.float32)
            for name in names
            if name != "logits"
        }
        values = session.run(names, {"token": row, **states})
        outputs.append(dict(zip(names, values, strict=True)))
    return outputs


def rounded_steps(weights: FoldedLstm, tokens: npt.NDArray[np.int64]) -> list[Arrays]:
    """What a cell of integers must come to: weights and hidden states rounded, in float64."""

    def product(hidden: Any, matrix: Any) -> Any:  # noqa: ANN401  # of any float type
        unit = np.abs(matrix).max(axis=0) / np.float32(127)
        grid = np.rint(hidden.astype(np.float32) / np.float32(1 / 63)).astype(np.float64) / 63
        return grid @ (np.rint(matrix / unit) * unit.astype(np.float64))

    def opened(gates: Any) -> Any:  # noqa: ANN401
        return 1 / (1 + np.exp(-gates))

    layers = 1 + len(weights.above)
    h = c = [np.zeros((tokens.shape[1], len(weights.recurrent)))] * layers
    outputs = []
    for row in tokens:
        below, new_h, new_c = weights.table[row].astype(np.float64), [], []
        for layer in range(layers):
            recurrent = weights.above[layer - 1].recurrent if layer else weights.recurrent
            i, f, o, g = np.split(below + product(h[layer], recurrent), 4, axis=1)
            new_c.append(opened(f) * c[layer] + opened(i) * np.tanh(g))
            new_h.append(opened(o) * np.tanh(new_c[-1]))
            if layer + 1 < layers:
                above = weights.above[layer]
                below = product(new_h[-1], above.weights) + above.bias
        h, c = new_h, new_c
        outputs.append({"logits": product(h[-1], weights.head) + weights.head_bias})
    return outputs


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_cell_of_integers_computes_what_is_left_after_rounding(
    model: MakeModel, layers: int
) -> None:
    weights = FoldedLstm.of(model(layers))
    tokens = np.random.default_rng(layers).integers(11, size=(60, 9))
    outputs = run(lstm_cell(weights, int8=True), tokens)
    for found, expected in zip(outputs, rounded_steps(weights, tokens), strict=True):
        assert np.abs(found["logits"] - expected["logits"]).max() <= 1e-5


def test_rows_of_a_cell_of_integers_do_not_meet(model: MakeModel) -> None:
    cell = lstm_cell(FoldedLstm.of(model(2)), int8=True)
    tokens = np.random.default_rng(0).integers(11, size=(30, 33))
    together = run(cell, tokens)
    for rows in (slice(0, 1), slice(1, 3), slice(3, 19), slice(19, 33)):
        for whole, part in zip(together, run(cell, tokens[:, rows]), strict=True):
            assert all((whole[name][rows] == part[name]).all() for name in whole)


def test_no_sum_of_two_products_leaves_sixteen_bits() -> None:
    assert 2 * (HIDDEN_ZERO + HIDDEN_LEVELS) * WEIGHT_LEVELS < 2**15


def test_a_column_of_zeros_stays_zero() -> None:
    rounded = Int8Weights.of(np.array([[0, 1], [0, -2]], np.float32))
    assert rounded.values.tolist() == [[0, 64], [0, -127]]


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_two_hundred_steps_stay_within_a_hundred_thousandth_of_torch(
    model: MakeModel, layers: int, batch: int
) -> None:
    lstm = model(layers)
    tokens = np.random.default_rng(batch).integers(11, size=(200, batch))
    outputs = run(lstm_cell(FoldedLstm.of(lstm)), tokens)
    with torch.no_grad():
        logits, (h, c) = lstm(torch.from_numpy(tokens.T.copy()))
    found = np.stack([step["logits"] for step in outputs], axis=1)
    assert np.abs(found - logits.numpy()).max() <= 1e-5
    for layer in range(layers):
        assert np.abs(outputs[-1][f"next_state.h{layer}"] - h[layer].numpy()).max() <= 1e-5
        assert np.abs(outputs[-1][f"next_state.c{layer}"] - c[layer].numpy()).max() <= 1e-5


def test_a_row_is_bitwise_the_same_in_every_batch(model: MakeModel) -> None:
    cell = lstm_cell(FoldedLstm.of(model(2)))
    tokens = np.random.default_rng(0).integers(11, size=(20, 64))
    together = run(cell, tokens)[-1]
    for batch in (1, 2, 7, 33):
        alone = run(cell, tokens[:, :batch])[-1]
        for name, rows in alone.items():
            assert np.array_equal(rows, together[name][:batch]), (name, batch)


def test_the_table_holds_embedding_projection_and_both_biases(model: MakeModel) -> None:
    lstm = model(1)
    table = FoldedLstm.of(lstm).table
    weights = lstm.state_dict()
    rows = weights["embedding.weight"] @ weights["lstm.weight_ih_l0"].T
    rows += weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    i, f, g, o = rows.chunk(4, dim=1)
    expected = torch.cat([i, f, o, g], dim=1)
    assert table.shape == (11, 4 * 24)
    assert np.abs(table - expected.numpy()).max() < 1e-6


def test_names_types_and_shapes_keep_the_contract(model: MakeModel) -> None:
    cell = lstm_cell(FoldedLstm.of(model(3)))
    onnx.checker.check_model(cell, full_check=True)

    def described(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[int | str]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    state = (TensorProto.FLOAT, ["batch", 24])
    names = ["h0", "c0", "h1", "c1", "h2", "c2"]
    assert described(list(cell.graph.input)) == {
        "token": (TensorProto.INT64, ["batch"]),
        **{f"state.{name}": state for name in names},
    }
    assert described(list(cell.graph.output)) == {
        "logits": (TensorProto.FLOAT, ["batch", 11]),
        **{f"next_state.{name}": state for name in names},
    }
    assert (cell.ir_version, [opset.version for opset in cell.opset_import]) == (10, [21])
    assert TensorProto.DOUBLE not in {tensor.data_type for tensor in cell.graph.initializer}
