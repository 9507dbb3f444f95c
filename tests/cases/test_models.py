"""Kind M: a model is tried before it serves, and all that is wrong with it is said at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.cases.models import SYMBOLS, WIDTH, constant, node, recurrent, saved, tried, value
from tests.server.tiny_cell import CellWriter, labelled_cell, lstm_cell, previous_token_cell

from cellwire.model_file.cell import BUILT_IN_MODEL, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.trial_texts import MEMORYLESS, PERHAPS_PROBABILITIES, ROUNDING

OPSETS = (7, 8, 9, 11, 12, 13, 15, 17, 18, 21)


def refusal(path: Path) -> BadModel:
    with pytest.raises(BadModel) as caught:
        tried(path)
    return caught.value


# Files that are right, though they look unusual.


@pytest.mark.parametrize(
    "cell", [recurrent, lstm_cell, previous_token_cell, labelled_cell], ids=lambda c: c.__name__
)
def test_a_right_model_is_served_without_a_word(
    tmp_path: Path, cell: Callable[[], CellWriter]
) -> None:
    assert tried(saved(cell(), tmp_path / "cell.onnx")) == ()


def test_the_built_in_model_passes() -> None:
    assert tried(BUILT_IN_MODEL, threads=2) == ()


def old_cell(opset: int) -> onnx.ModelProto:
    """A cell with operators that have changed since: Squeeze, Split, ReduceMax, Softmax, Clip."""
    cell = recurrent(opset=opset)
    cell.nodes.pop()
    cell.node("Unsqueeze", ["next_state.h"], "wide")
    cell.node("ReduceMax", ["wide"], "narrow")
    cell.node("Split", ["narrow"], "left", "right")
    cell.node("Concat", ["right", "left"], "turned", axis=1)
    cell.node("LogSoftmax", ["turned"], "logits", axis=1)
    unsqueeze, reduce, split = cell.nodes[-5], cell.nodes[-4], cell.nodes[-3]
    split.attribute.append(helper.make_attribute("axis", 1))
    reduce.attribute.append(helper.make_attribute("keepdims", 0))
    as_inputs = {"axes": opset >= 13, "max_axes": opset >= 18, "split": opset >= 13}
    for owner, name, numbers in (
        (unsqueeze, "axes", [1]),
        (reduce, "max_axes", [1]),
        (split, "split", [WIDTH // 2, WIDTH // 2]),
    ):
        if as_inputs[name]:
            owner.input.append(constant(cell, f"{owner.op_type}.{name}", numbers, np.int64))
        else:
            owner.attribute.append(helper.make_attribute(name.removeprefix("max_"), numbers))
    return cell.model()


@pytest.mark.parametrize("opset", OPSETS)
def test_every_operator_set_from_7_on_is_served(tmp_path: Path, opset: int) -> None:
    model = old_cell(opset)
    model.ir_version = min(model.ir_version, 3 if opset < 9 else 8)
    if model.ir_version == 3:  # where constants are inputs, too
        for tensor in model.graph.initializer:
            model.graph.input.append(value(tensor.name, *tensor.dims, element=tensor.data_type))
    assert tried(saved(model, tmp_path / "old.onnx")) == ()


def test_an_operator_set_before_7_is_refused_with_the_one_to_write(tmp_path: Path) -> None:
    model = recurrent().model()
    model.opset_import[0].version = 6
    error = refusal(saved(model, tmp_path / "ancient.onnx"))
    assert "operator set 6 cannot be converted to 18" in str(error)
    assert "opset_version=18" in str(error)


@pytest.mark.parametrize(("opset", "inner"), [(13, 13), (17, 13), (18, 18), (21, 15)])
def test_functions_of_the_file_are_put_in_place(tmp_path: Path, opset: int, inner: int) -> None:
    model = recurrent(activation="Twice", opset=opset).model()
    body = [node("Add", ["x", "x"], "xx"), node("Tanh", ["xx"], "y")]
    opsets = [helper.make_opsetid("", inner)]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[4].domain = "own"
    assert tried(saved(model, tmp_path / "functions.onnx")) == ()


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    model = recurrent(activation="Twice").model()
    body = [node("Twice", ["x"], "y", domain="own")]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[4].domain = "own"
    assert "write the file without functions" in str(refusal(saved(model, tmp_path / "f.onnx")))


@pytest.mark.parametrize("size", ["Reshape_dim_1", None], ids=["named", "unknown"])
def test_a_size_of_an_output_may_be_a_name(tmp_path: Path, size: str | None) -> None:
    model = recurrent().model()
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].Clear()
        if size:
            output.type.tensor_type.shape.dim[1].dim_param = size
    assert tried(saved(model, tmp_path / "named.onnx")) == ()


def test_an_output_that_has_another_size_in_a_run_is_refused(tmp_path: Path) -> None:
    cell = recurrent()
    cell.nodes[-2].output[0] = "half"
    cell.nodes[-1].input[0] = "half"
    cell.node("Concat", ["half", "half"], "next_state.h", axis=1)
    model = cell.model()
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_param = "some"
    error = refusal(saved(model, tmp_path / "size.onnx"))
    assert "output 'next_state.h' is [1, 24] in a step with 1 text; it must be [1, 12]" in str(
        error
    )


# Weights beside the file.


def with_external_data(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    model = recurrent().model()
    for tensor in model.graph.initializer:
        weights = np.random.default_rng(seed).normal(size=tensor.dims).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    path = folder / "cell.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="cell.onnx.data", size_threshold=0
    )
    return path


def test_weights_are_read_beside_the_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = with_external_data(tmp_path / "beside", 1), with_external_data(tmp_path / "b", 2)
    monkeypatch.chdir(other.parent)
    cell = read_cell(path)
    weights = numpy_helper.to_array(cell.graph.graph.initializer[0])
    expected = np.random.default_rng(1).normal(size=weights.shape).astype(np.float32)
    assert (weights == expected).all()
    assert tried(path) == ()
    (path.parent / "cell.onnx.data").unlink()  # one of that name is in the working folder
    error = refusal(path)
    assert "'cell.onnx.data' beside it, which cannot be read (No such file" in str(error)
    assert "external_data=False" in str(error)


def test_values_of_a_sparse_constant_are_read_beside_the_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.random.default_rng(1).normal(size=WIDTH * WIDTH).astype(np.float32)
    values = TensorProto(
        name="w",
        dims=weights.shape,
        data_type=TensorProto.FLOAT,
        data_location=TensorProto.EXTERNAL,
    )
    values.external_data.add(key="location", value="w.data")
    places = numpy_helper.from_array(np.arange(len(weights)), "places")
    sparse = helper.make_sparse_tensor(values, places, [WIDTH, WIDTH])
    nodes = [
        node("Constant", [], "k", sparse_value=sparse),
        node("MatMul", ["state.h", "k"], "s"),
    ]
    (tmp_path / "here").mkdir()
    path = saved(recurrent(nodes), tmp_path / "here" / "cell.onnx")
    monkeypatch.chdir(tmp_path)
    Path("w.data").write_bytes(weights.tobytes())
    assert "'w.data' beside it, which cannot be read (No such file" in str(refusal(path))
    Path("w.data").rename(path.parent / "w.data")
    assert tried(path) == ()


def test_the_digest_covers_the_file_and_its_weights(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    both = path.read_bytes() + (tmp_path / "cell.onnx.data").read_bytes()
    before = read_cell(path).sha256
    assert before == hashlib.sha256(both).hexdigest()
    with (tmp_path / "cell.onnx.data").open("r+b") as data:
        data.write(b"\x01")
    assert read_cell(path).sha256 != before


@pytest.mark.parametrize(
    "location",
    ["../weights", "/etc/hostname", "deep/weights", "..", "", "a\\b", "C:weights", "a\0b"],
)
def test_weights_outside_of_the_folder_are_not_touched(tmp_path: Path, location: str) -> None:
    path = with_external_data(tmp_path / "here")
    (tmp_path / "weights").write_bytes((tmp_path / "here" / "cell.onnx.data").read_bytes())
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    error = refusal(path)
    assert "put that file beside the model" in str(error)
    assert str(tmp_path) not in error.named("cell.onnx")
    assert "/etc" not in str(error)


def test_links_and_pipes_in_the_place_of_weights_are_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "here")
    data = path.parent / "cell.onnx.data"
    data.rename(tmp_path / "moved")
    data.symlink_to(tmp_path / "moved")
    assert "is a symbolic link" in str(refusal(path))
    data.unlink()
    os.mkfifo(data)
    assert "is not a regular file" in str(refusal(path))


def test_weights_that_were_cut_are_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    data = tmp_path / "cell.onnx.data"
    data.write_bytes(data.read_bytes()[:-100])
    assert "the two files do not belong together" in str(refusal(path))


def test_a_pipe_or_a_folder_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "is not a regular file" in str(refusal(tmp_path / "pipe.onnx"))
    (tmp_path / "folder.onnx").mkdir()
    assert "folder.onnx: " in str(refusal(tmp_path / "folder.onnx"))


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "vast.onnx"
    with path.open("wb") as file:
        file.truncate(2**33)
    assert "has 8,192 MiB; a model has at most 2,032 MiB" in str(refusal(path))


# Batches.


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_batch_that_is_built_in_is_refused_by_the_name_of_its_node(
    tmp_path: Path, rows: int
) -> None:
    cell = recurrent([node("Reshape", ["state.h", "one"], "s")])
    constant(cell, "one", [rows, WIDTH], np.int64)
    error = refusal(saved(cell, tmp_path / "baked.onnx"))
    assert "node 'Reshape of s' (Reshape)" in str(error)
    assert "dynamic_shapes" in str(error)
    assert "onnxruntime" not in str(error)


def test_a_batch_that_is_built_in_without_a_failure_is_refused(tmp_path: Path) -> None:
    cell = recurrent([node("Slice", ["state.h", "zero", "one"], "s")])
    constant(cell, "zero", [0], np.int64)
    constant(cell, "one", [1], np.int64)
    error = refusal(saved(cell, tmp_path / "first.onnx"))
    assert "one session would hear another" in str(error)


MIXERS = {
    "mean": [node("ReduceMean", ["state.h", "zero"], "m"), node("Sub", ["state.h", "m"], "s")],
    "greatest": [node("ReduceMax", ["state.h", "zero"], "m"), node("Min", ["state.h", "m"], "s")],
    "sum": [node("CumSum", ["state.h", "axis"], "s")],
    "softmax": [node("Softmax", ["state.h"], "s", axis=0)],
    "previous": [
        node("Shape", ["state.h"], "shape"),
        node("Slice", ["state.h", "zero", "one"], "first"),
        node("Concat", ["first", "state.h"], "all", axis=0),
        node("Slice", ["all", "zero", "minus"], "s"),
    ],
    "quantised": [
        node("DynamicQuantizeLinear", ["state.h"], "q", "scale", "point"),
        node("DequantizeLinear", ["q", "scale", "point"], "s"),
    ],
}


@pytest.mark.parametrize("mixer", MIXERS)
def test_rows_that_hear_each_other_are_refused(tmp_path: Path, mixer: str) -> None:
    cell = recurrent(MIXERS[mixer])
    constant(cell, "axis", 0, np.int64)
    for name, number in (("zero", 0), ("one", 1), ("minus", -1)):
        constant(cell, name, [number], np.int64)
    error = refusal(saved(cell, tmp_path / "mixed.onnx"))
    assert "changes with the other texts of its batch" in str(error)
    assert "model.eval()" in str(error)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    exponent=st.integers(-12, 3), column=st.integers(0, WIDTH - 1), sign=st.sampled_from([1, -1])
)
def test_however_softly_a_row_is_heard_it_is_refused(
    tmp_path: Path, exponent: int, column: int, sign: int
) -> None:
    """A share of the batch's mean in one column, down to far below a float's rounding."""
    cell = recurrent(
        [
            node("ReduceMean", ["state.h", "zero"], "m"),
            node("Mul", ["m", "share"], "leak"),
            node("Add", ["state.h", "leak"], "s"),
        ]
    )
    constant(cell, "zero", [0], np.int64)
    constant(cell, "share", np.eye(WIDTH)[column] * sign * 10.0**exponent)
    assert "one session would hear another" in str(refusal(saved(cell, tmp_path / "soft.onnx")))


@pytest.mark.parametrize("width", [7, 29, 257])
@pytest.mark.parametrize(
    "operator", ["Softplus", "Elu", "Selu", "Celu", "Mish", "Sin", "Cos", "Atan"]
)
def test_an_operator_that_rounds_rows_differently_is_noted(
    tmp_path: Path, operator: str, width: int
) -> None:
    cell = recurrent(width=width, activation=operator)
    assert tried(saved(cell, tmp_path / "rounding.onnx")) == (ROUNDING,)


@pytest.mark.parametrize("width", [7, 29, 257])
@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid", "Relu", "Erf", "Softsign", "Gelu"])
def test_an_operator_that_keeps_a_rows_bits_is_not(
    tmp_path: Path, operator: str, width: int
) -> None:
    cell = recurrent(width=width, activation=operator)
    assert tried(saved(cell, tmp_path / "exact.onnx")) == ()


def test_a_step_that_is_random_is_refused(tmp_path: Path) -> None:
    cell = recurrent(
        [node("RandomNormalLike", ["state.h"], "n"), node("Add", ["state.h", "n"], "s")]
    )
    error = refusal(saved(cell, tmp_path / "random.onnx"))
    assert "something else the second time (RandomNormalLike in its graph)" in str(error)


# Numbers.


def last(cell: CellWriter, operator: str, **attributes: object) -> CellWriter:
    """End the logits with another operator."""
    cell.nodes[-1].output[0] = "raw"
    cell.nodes.append(node(operator, ["raw"], "logits", **attributes))
    return cell


def test_probabilities_are_no_logits(tmp_path: Path) -> None:
    error = refusal(saved(last(recurrent(), "Softmax", axis=1), tmp_path / "soft.onnx"))
    assert "take the Softmax off" in str(error)
    assert tried(saved(last(recurrent(), "LogSoftmax", axis=1), tmp_path / "log.onnx")) == ()


def test_the_outputs_of_a_sigmoid_are_noted(tmp_path: Path) -> None:
    path = saved(last(recurrent(), "Sigmoid"), tmp_path / "sigmoid.onnx")
    assert tried(path) == (PERHAPS_PROBABILITIES,)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_with_the_token(tmp_path: Path, broken: float) -> None:
    cell = recurrent()
    table = numpy_helper.to_array(cell.constants[0]).copy()
    table[7, 2] = broken
    cell.constants[0].CopyFrom(numpy_helper.from_array(table, "table"))
    cell.nodes[-2].op_type = "Softsign"
    error = refusal(saved(last(cell, "Identity"), tmp_path / "broken.onnx"))
    assert "is not finite after token 7" in str(error)


def test_a_table_that_is_shorter_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    cell = recurrent()
    table = numpy_helper.to_array(cell.constants[0])[:-1]
    cell.constants[0].CopyFrom(numpy_helper.from_array(table, "table"))
    error = refusal(saved(cell, tmp_path / "short.onnx"))
    assert "a step with token 11 alone fails at node 'Gather of x' (Gather)" in str(error)
    assert "tokens are 0 to 11" in str(error)


# Inputs that have no effect.


def test_a_state_that_no_node_reads_is_refused(tmp_path: Path) -> None:
    """Torch merges h and c where the example gives one tensor for both."""
    model = lstm_cell().model()
    for inner in model.graph.node:
        inner.input[:] = ["state.h" if name == "state.c" else name for name in inner.input]
    error = refusal(saved(model, tmp_path / "merged.onnx"))
    assert "no node reads input 'state.c'" in str(error)
    assert "one tensor in the example" in str(error)


@pytest.mark.parametrize("name", ["state.c", "token"])
def test_an_input_that_changes_nothing_is_refused(tmp_path: Path, name: str) -> None:
    cell = lstm_cell()
    constant(cell, "none", 0)
    if name == "token":
        cell.node("Gather", ["table", "first"], "row")
        cell.nodes.insert(0, cell.nodes.pop())
        cell.nodes.insert(0, node("Sub", ["token", "token"], "first"))
        del cell.nodes[2]
    else:
        cell.nodes.insert(0, node("Mul", [name, "none"], "silenced"))
        for inner in cell.nodes[1:]:
            inner.input[:] = ["silenced" if i == name else i for i in inner.input]
    error = refusal(saved(cell, tmp_path / "silent.onnx"))
    assert f"input '{name}' changes nothing in the outputs" in str(error)


def test_a_token_that_no_node_reads_is_refused(tmp_path: Path) -> None:
    cell = recurrent()
    cell.nodes[0].input[1] = constant(cell, "first", [0], np.int64)
    assert "no node reads input 'token'" in str(refusal(saved(cell, tmp_path / "deaf.onnx")))


def test_a_model_without_memory_is_served_with_a_note(tmp_path: Path) -> None:
    """A table of bigrams is a model, too; it must have a state, and does not use it."""
    cell = CellWriter(SYMBOLS)
    cell.state("h", 1)
    cell.node("Gather", [cell.weights("table", WIDTH, WIDTH), "token"], "logits")
    cell.node("Cast", ["token"], "number", axis=None)
    cell.nodes[-1].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    cell.node("Unsqueeze", ["number", constant(cell, "axis", [1], np.int64)], "next_state.h")
    assert tried(saved(cell, tmp_path / "table.onnx")) == (MEMORYLESS,)


# All at once.


def test_every_fault_of_a_file_is_said_at_once(tmp_path: Path) -> None:
    """What torch makes of an LSTM by default."""
    model = lstm_cell().model()
    names = {"token": "input_ids", "state.h": "h0", "state.c": "c0", "next_state.h": "hn"}
    for inner in model.graph.node:
        inner.input[:] = [names.get(name, name) for name in inner.input]
        inner.output[:] = [names.get(name, name) for name in inner.output]
    for put in (*model.graph.input, *model.graph.output):
        put.name = names.get(put.name, put.name)
    for put in model.graph.input[1:]:
        put.type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    del model.metadata_props[:]
    error = refusal(saved(model, tmp_path / "torch.onnx"))
    text = error.named("torch.onnx")
    assert text.startswith("torch.onnx: 8 faults:\n  - ")
    for part in (
        "no 'cellwire.manifest' in its metadata",
        "perhaps 'input_ids' (int32[batch]) is meant: rename it 'token' and make it int64[batch]",
        "input 'h0' is not in the contract (it is float[1, 16])",
        "rename it 'state.c0' if it is a state",
        "'c0' is float[1, 16]; its first dimension must be the batch",
        "output 'hn' is not in the contract",
        "output 'next_state.c' is not in the contract",
        "to mend: torch.onnx.export(cell, (token, h0, c0), PATH, input_names=['token', 'state.h0'",
    ):
        assert part in text
    assert "cellwire export" not in text


def test_cellwire_export_is_named_for_its_own_files_only(tmp_path: Path) -> None:
    model = recurrent().model()
    del model.metadata_props[:]
    model.producer_name = "cellwire"
    assert "with cellwire export" in str(refusal(saved(model, tmp_path / "own.onnx")))


def test_a_renamed_output_is_recognised_by_its_shape(tmp_path: Path) -> None:
    model = recurrent(width=7).model()
    for inner in model.graph.node:
        inner.output[:] = ["hn" if name == "next_state.h" else name for name in inner.output]
        inner.input[:] = ["hn" if name == "next_state.h" else name for name in inner.input]
    model.graph.output[1].name = "hn"
    text = str(refusal(saved(model, tmp_path / "hn.onnx")))
    assert "perhaps 'hn' (float[batch, 7]) is meant: rename it 'next_state.h'" in text


def test_several_faults_of_the_trial_come_together(tmp_path: Path) -> None:
    cell = last(recurrent(MIXERS["mean"]), "Softmax", axis=1)
    constant(cell, "zero", [0], np.int64)
    error = refusal(saved(cell, tmp_path / "both.onnx"))
    assert len(error.faults) == 2


def test_an_operator_that_does_not_exist_is_named_without_paths(tmp_path: Path) -> None:
    model = recurrent().model()
    model.graph.node[-1].domain = "com.microsoft"
    model.graph.node[-1].op_type = "NoSuchOperator"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    text = refusal(saved(model, tmp_path / "cell.onnx")).named("cell.onnx")
    assert "NoSuchOperator" in text
    assert "ONNXRuntimeError" not in text
    assert str(tmp_path) not in text
