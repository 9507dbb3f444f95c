"""The cell keeps the contract, and computes what torch does."""

from __future__ import annotations

from collections.abc import Callable

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
