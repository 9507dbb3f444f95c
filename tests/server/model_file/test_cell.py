"""Files that keep the contract are read; for others the error names the fault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.server.tiny_cell import SYMBOLS, CellWriter, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.model_file.errors import BadModel
from cellwire.server.runtime.runtime import Runtime

Spoil = Callable[[onnx.ModelProto], None]


def test_a_cell_is_read_with_its_states_and_manifest(tmp_path: Path) -> None:
    path = write_cell(tmp_path / "some.name.onnx", lstm_cell(hidden=12))
    cell = read_cell(path)
    assert cell.name == "some.name"
    assert cell.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(s.name, s.shape) for s in cell.states] == [("h", (12,)), ("c", (12,))]
    assert cell.state_bytes == 2 * 12 * 4
    assert cell.manifest.vocabulary.symbols == SYMBOLS


def test_an_older_operator_set_is_converted(tmp_path: Path) -> None:
    writer = CellWriter(opset=13)
    state = writer.state("h", 8)
    row = writer.node("Gather", [writer.weights("table", len(SYMBOLS), 8), "token"], "row")
    total = writer.node("Add", [state, row], "total")
    writer.node("Tanh", [total], "next_state.h")
    writer.node("MatMul", ["next_state.h", writer.weights("head", 8, len(SYMBOLS))], "logits")
    Runtime(read_cell(write_cell(tmp_path / "old.onnx", writer)), slots=4, max_batch=2)


def rename_token(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "tokens"
    model.graph.node[0].input[1] = "tokens"


def narrow_token(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1


def free_width(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "width"


def wide_state(model: onnx.ModelProto) -> None:
    wide = helper.make_tensor_value_info("state.wide", TensorProto.DOUBLE, ["batch", 16])
    model.graph.input.append(wide)


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))


def drop_states(model: onnx.ModelProto) -> None:
    del model.graph.input[1:]
    del model.graph.output[1:]
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [1, 16], [0.0] * 16)
    for name in ("state.h", "state.c"):
        node = helper.make_node("Constant", [], [name], value=zeros)
        model.graph.node.insert(0, node)


def scores_without_labels(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["scores"]))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(SYMBOLS)])
    model.graph.output.append(scores)


def labels_without_scores(model: onnx.ModelProto) -> None:
    entry = model.metadata_props[0]
    entry.value = entry.value.replace('"labels": []', '"labels": ["few", "many"]')


def drop_next_state(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def add_output(model: onnx.ModelProto) -> None:
    gates = helper.make_tensor_value_info("gates", TensorProto.FLOAT, ["batch", 64])
    model.graph.output.append(gates)


def drop_manifest(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def break_manifest(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = '{"version": 1, "vocabulary": {"kind": "characters"}}'


def future_manifest(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = model.metadata_props[0].value.replace(": 1", ": 2", 1)


def nest_manifest(model: onnx.ModelProto) -> None:
    depth = 100_000
    model.metadata_props[0].value = '{"more": ' + "[" * depth + "]" * depth + "}"


def double_symbol(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"b"', '"a"')


def fewer_symbols(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = model.metadata_props[0].value.replace('"b", ', "")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rename_token, "no input 'token'"),
        (narrow_token, "'token' is int32"),
        (fix_batch, "'state.h' is float[1, 16]"),
        (free_width, "'state.h' is float[batch, width]"),
        (wide_state, "'state.wide' is double[batch, 16]; it must be float[batch, 16]"),
        (add_input, "input 'mask' is not in the contract"),
        (drop_states, "no input 'state.<name>'; a cell needs at least one state"),
        (scores_without_labels, "output 'scores' has no labels"),
        (labels_without_scores, "no output 'scores'; there are: 'logits', 'next_state.h', 'n"),
        (drop_next_state, "no output 'next_state.c'"),
        (add_output, "output 'gates' is not in the contract"),
        (drop_manifest, "no 'cellwire.manifest'"),
        (break_manifest, "symbols"),
        (future_manifest, "version"),
        (nest_manifest, "recursion"),
        (double_symbol, "twice"),
        (fewer_symbols, "'logits' is float[batch, 32]; it must be float[batch, 31]"),
    ],
)
def test_an_error_names_the_file_and_the_fault(tmp_path: Path, spoil: Spoil, message: str) -> None:
    model = lstm_cell().model()
    spoil(model)
    path = tmp_path / "bad.onnx"
    onnx.save(model, path)
    with pytest.raises(BadModel) as caught:
        read_cell(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    raw = write_cell(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(BadModel, match=r"cut\.onnx"):
        read_cell(path)


def test_a_missing_file_and_a_text_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="No such file"):
        read_cell(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("It is a truth universally acknowledged")
    with pytest.raises(BadModel, match="not a complete, valid ONNX model"):
        read_cell(tmp_path / "text.onnx")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    raw = write_cell(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "name.onnx"
    path.write_bytes(raw.replace(b"recurrent", b"recurr\xe8nt", 1))
    with pytest.raises(BadModel, match="not a complete, valid ONNX model"):
        read_cell(path)
