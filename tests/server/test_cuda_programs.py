"""That a card could run the programs: what ONNX Runtime's CUDA provider has kernels for.

The table is from ONNX Runtime's docs/OperatorKernels.md, of the operators that are used here. What
is not in it runs on the CPU, and a program with such a detour cannot be captured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.cell import read_cell
from cellwire.server.padded_strider import LENGTHS
from cellwire.server.sampler import Sampler
from cellwire.server.search_program import compose_search
from cellwire.server.stride_program import Fixed, compose_stride
from cellwire.server.transfer_program import compose_read, compose_write

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE}
NUMBERS = FLOATS | {TensorProto.INT64}
BOOL = {TensorProto.BOOL}
ANY = NUMBERS | BOOL

KERNELS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mod", "Min", "ReduceSum", "CumSum"), NUMBERS),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "TopK", "Range"), NUMBERS),
    **dict.fromkeys(("ArgMax", "ArgMin", "Exp", "Gemm", "MatMul"), FLOATS),
    **dict.fromkeys(("LogSoftmax", "Softmax", "Sigmoid", "Tanh"), FLOATS),
    **dict.fromkeys(("Cast", "Concat", "Expand", "Gather", "GatherElements", "Identity"), ANY),
    **dict.fromkeys(("Reshape", "ScatterElements", "ScatterND", "Shape", "Split"), ANY),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "GatherND", "Loop"), ANY),
    "And": BOOL,
    "Where": NUMBERS,  # of what is chosen, its second input
}
# Inputs that a kernel reads in the host's memory: they must be known when a graph is captured.
OF_THE_HOST = {
    "TopK": 1,
    "Reshape": 1,
    "Expand": 1,
    "CumSum": 1,
    "ReduceSum": 1,
    "Unsqueeze": 1,
    "Squeeze": 1,
    "Split": 1,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(8))


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                nodes += all_nodes(attribute.g)
    return nodes


def types_of(graph: onnx.GraphProto) -> dict[str, int]:
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                types |= types_of(attribute.g)
    return types


def optimized(serialized: bytes, folder: Path) -> onnx.ModelProto:
    """The program as ONNX Runtime leaves it before any provider takes it: constants are folded."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    return onnx.shape_inference.infer_shapes(onnx.load(folder / "optimized.onnx"))


def check_kernels(model: onnx.ModelProto) -> None:
    types = types_of(model.graph)
    for node in all_nodes(model.graph):
        assert node.op_type in KERNELS, f"{node.op_type}: is there a kernel for CUDA?"
        told = node.input[1 if node.op_type == "Where" else 0]
        if told:
            assert types[told] in KERNELS[node.op_type], f"{node.op_type} of {types[told]}"


@pytest.mark.parametrize("sampler", Sampler)
@pytest.mark.parametrize("steps", LENGTHS)
def test_a_padded_stride_can_be_captured(
    path: Path, tmp_path: Path, sampler: Sampler, steps: int
) -> None:
    cell = read_cell(path)
    fixed = Fixed(steps, 4 if sampler.ranks else 0)
    model = optimized(compose_stride(cell, sampler, fixed), tmp_path)
    check_kernels(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert not any(a.HasField("g") for a in node.attribute), "control flow"
        assert node.op_type not in {"Shape", "Range"}, "worked out on the host"
        if (place := OF_THE_HOST.get(node.op_type)) and len(node.input) > place:
            assert node.input[place] in constants, f"{node.op_type} takes what is not constant"
    inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    uploads = [name for name in inputs if "arena" not in name and "change" not in name]
    assert len(uploads) <= 2 + 2 * (sampler is Sampler.SHAPING), "more copies than need be"


@pytest.mark.parametrize("may_end", [False, True])
def test_searches_and_transfers_have_kernels(path: Path, tmp_path: Path, may_end: bool) -> None:  # noqa: FBT001
    cell = read_cell(path)
    for serialized in (
        compose_search(cell, may_end=may_end),
        compose_read(cell),
        compose_write(cell),
    ):
        check_kernels(optimized(serialized, tmp_path))


def test_unrolled_steps_rename_what_a_cells_own_control_flow_reads(tmp_path: Path) -> None:
    """A cell may have an If within: what it reads from around is another value in each step."""
    cell = lstm_cell(5)
    path = write_cell(tmp_path / "cell.onnx", cell)
    model = onnx.load(path)
    (output,) = [n for n in model.graph.node if "next_state.h" in n.output]
    output.output[:] = ["h.before" if name == "next_state.h" else name for name in output.output]
    for node in model.graph.node:
        node.input[:] = ["h.before" if name == "next_state.h" else name for name in node.input]
    branch = [
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["h.before"], [f"{name}.out"])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, ["batch", 5])],
        )
        for name in ("then", "else")
    ]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((), np.bool_), "yes"))
    model.graph.node.append(
        onnx.helper.make_node(
            "If", ["yes"], ["next_state.h"], then_branch=branch[0], else_branch=branch[1]
        )
    )
    onnx.save(model, tmp_path / "if.onnx")
    serialized = compose_stride(read_cell(tmp_path / "if.onnx"), Sampler.PLAIN, Fixed(4, 0))
    onnx.checker.check_model(onnx.load_model_from_string(serialized), full_check=True)
