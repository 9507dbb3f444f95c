"""Exported cells follow the contract and compute the numbers of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tests.exporter.networks import (
    HIDDEN,
    VOCABULARY,
    Array,
    random_tokens,
    small_network,
    torch_outputs,
)
from tests.foreign.cell_runs import check_rows_independent, run_cell

from cellwire.exporter.export.fold import FoldedNetwork, fold
from cellwire.exporter.export.graph import WEIGHTS, Weights, cell_graph
from cellwire.exporter.export.int8 import (
    HIDDEN_LEVELS,
    HIDDEN_ZERO_POINT,
    WEIGHT_LEVELS,
    Int8Weights,
)
from cellwire.exporter.network.cells.lstm import FoldedLstmLayer
from cellwire.exporter.network.kinds import KINDS, Kind, cell_kind
from cellwire.exporter.network.network import Network
from cellwire.exporter.network.weights import Affine, Table

every_kind = pytest.mark.parametrize("kind", KINDS)
every_depth = pytest.mark.parametrize("layers", [1, 2, 3])
every_rounding = pytest.mark.parametrize(
    ("kind", "weights"),
    [
        (kind, weights)
        for kind in KINDS
        for weights in WEIGHTS
        if weights != "int8" or cell_kind(kind).bounded
    ],
)


def cell_of(network: Network, weights: Weights = "float32") -> bytes:
    return cell_graph(fold(network), weights).SerializeToString()


@every_kind
@every_depth
@pytest.mark.parametrize(("embedding", "labels"), [(None, 0), (5, 0), (5, 3)])
def test_steps_stay_within_a_hundred_thousandth_of_torch(
    kind: Kind, layers: int, embedding: int | None, labels: int
) -> None:
    network = small_network(kind, layers, embedding=embedding, labels=labels)
    tokens = random_tokens(steps=100, batch=3)
    found, expected = run_cell(cell_of(network), tokens), torch_outputs(network, tokens)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        all_or_last = found[name] if name in {"logits", "scores"} else found[name][-1]
        scale = max(1, np.abs(values).max())
        np.testing.assert_allclose(all_or_last, values, rtol=0, atol=1e-5 * scale, err_msg=name)


@every_rounding
def test_a_row_is_bitwise_the_same_in_every_batch(kind: Kind, weights: Weights) -> None:
    cell = cell_of(small_network(kind, 2), weights)
    check_rows_independent(cell, random_tokens(steps=20, batch=9))
    tokens = random_tokens(steps=20, batch=33)
    together = run_cell(cell, tokens)
    for rows in (slice(0, 2), slice(2, 19), slice(19, 33)):
        for name, part in run_cell(cell, tokens[:, rows]).items():
            assert np.array_equal(part, together[name][:, rows]), name


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_row_of_scores_is_bitwise_the_same_in_every_batch(weights: Weights) -> None:
    network = small_network("gru", 2, labels=2)
    check_rows_independent(cell_of(network, weights), random_tokens(steps=20, batch=9))


def test_probabilities_of_labels_add_up_to_1() -> None:
    scores = run_cell(cell_of(small_network("lstm", labels=3)), random_tokens(50, 4))["scores"]
    assert scores.shape == (50, 4, 3)
    assert (scores > 0).all()
    np.testing.assert_allclose(scores.sum(axis=2), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "products_of_h"),
    [("rnn", 1), ("rnn_relu", 1), ("rnn_by_hand", 1), ("lstm", 1), ("gru", 2), ("mingru", 0)],
)
@every_depth
def test_a_token_costs_no_product(kind: Kind, products_of_h: int, layers: int) -> None:
    cell = cell_graph(fold(small_network(kind, layers)))
    counts = Counter(node.op_type for node in cell.graph.node)
    input_projections, heads = layers - 1, 1
    assert counts["Gemm"] == layers * products_of_h + input_projections + heads
    assert counts["Gather"] == 1
    assert not {"MatMul", "OneHot"} & counts.keys()


def test_the_table_holds_embedding_projection_and_both_biases() -> None:
    network = small_network("lstm")
    table = fold(network).layers[0].input_projection
    weights = network.state_dict()
    rows = weights["embedding.weight"] @ weights["cell.layers.weight_ih_l0"].T
    rows += weights["cell.layers.bias_ih_l0"] + weights["cell.layers.bias_hh_l0"]
    i, f, g, o = rows.chunk(4, dim=1)
    assert isinstance(table, Table)
    np.testing.assert_allclose(table.rows, torch.cat([i, f, o, g], dim=1), rtol=0, atol=1e-6)


@every_kind
def test_names_types_and_shapes_follow_the_contract(kind: Kind) -> None:
    names = [f"{part}{layer}" for layer in range(3) for part in cell_kind(kind).state_names]
    for labels, answer in ((0, ("logits", VOCABULARY)), (3, ("scores", 3))):
        cell = cell_graph(fold(small_network(kind, 3, labels=labels)))
        onnx.checker.check_model(cell, full_check=True)
        assert described(cell.graph.input) == {
            "token": (TensorProto.INT64, ["batch"]),
            **{f"state.{name}": (TensorProto.FLOAT, ["batch", HIDDEN]) for name in names},
        }
        assert described(cell.graph.output) == {
            answer[0]: (TensorProto.FLOAT, ["batch", answer[1]]),
            **{f"next_state.{name}": (TensorProto.FLOAT, ["batch", HIDDEN]) for name in names},
        }
        assert (cell.ir_version, [opset.version for opset in cell.opset_import]) == (10, [21])


def described(values: Iterable[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[int | str]]]:
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


@every_rounding
def test_matrices_have_the_given_format(kind: Kind, weights: Weights) -> None:
    cell = cell_graph(fold(small_network(kind, 2)), weights)
    onnx.checker.check_model(cell, full_check=True)
    arrays = [numpy_helper.to_array(tensor) for tensor in cell.graph.initializer]
    tables = {a.dtype for a in arrays if a.ndim == 2 and len(a) == VOCABULARY}
    matrices = {a.dtype for a in arrays if a.ndim == 2 and len(a) == HIDDEN}
    assert tables == {np.dtype("float16" if weights == "float16" else "float32")}
    assert matrices == {np.dtype(weights)}
    biases_and_widths = {a.dtype for a in arrays if a.ndim == 1}
    assert biases_and_widths <= {np.dtype("float32"), np.dtype("int64")}


@every_kind
def test_float16_changes_answers_a_little(kind: Kind) -> None:
    """A processor may round the operands of a product, too."""
    network = small_network(kind, 2)
    tokens = random_tokens(steps=3, batch=9)
    found = run_cell(cell_of(network, "float16"), tokens)["logits"]
    expected = run_cell(cell_of(network), tokens)["logits"]
    assert 1e-6 < np.abs(found - expected).max() < 1e-2


@every_depth
def test_an_int8_cell_computes_with_rounded_weights(layers: int) -> None:
    network = fold(small_network("lstm", layers))
    tokens = random_tokens(steps=60, batch=9)
    found = run_cell(cell_graph(network, "int8").SerializeToString(), tokens)["logits"]
    np.testing.assert_allclose(found, rounded_logits(network, tokens), rtol=0, atol=1e-5)


def rounded_logits(network: FoldedNetwork, tokens: Array) -> Array:
    """Logits of an LSTM with rounded weights and hidden states, in float64."""

    def product(hidden: Array, matrix: Array) -> Array:
        unit = np.abs(matrix).max(axis=0) / np.float32(127)
        grid = np.rint(hidden.astype(np.float32) / np.float32(1 / 63)).astype(np.float64) / 63
        return np.asarray(grid @ (np.rint(matrix / unit) * unit.astype(np.float64)))

    def opened(gates: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-gates)))

    zeros = np.zeros((tokens.shape[1], network.hidden))
    states = [(zeros, zeros)] * len(network.layers)
    logits = []
    for row in tokens:
        h, new = zeros, []
        for layer, (h_before, c_before) in zip(network.layers, states, strict=True):
            assert isinstance(layer, FoldedLstmLayer)
            match layer.input_projection:
                case Table(rows):
                    below = rows[row].astype(np.float64)
                case Affine(weights, bias):
                    below = product(h, weights) + bias
            i, f, o, g = np.split(below + product(h_before, layer.recurrent_weights), 4, axis=1)
            c = opened(f) * c_before + opened(i) * np.tanh(g)
            h = opened(o) * np.tanh(c)
            new.append((h, c))
        states = new
        logits.append(product(h, network.head.weights) + network.head.bias)
    return np.stack(logits)


def test_a_sum_of_two_products_fits_16_bits() -> None:
    assert 2 * (HIDDEN_ZERO_POINT + HIDDEN_LEVELS) * WEIGHT_LEVELS < 2**15


def test_a_column_of_zeros_stays_zero() -> None:
    rounded = Int8Weights.of(np.array([[0, 1], [0, -2]], np.float32))
    assert rounded.values.tolist() == [[0, 64], [0, -127]]
