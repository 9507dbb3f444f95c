"""The kernels of ONNX Runtime's CUDA provider, for the operators that are used here.

From ONNX Runtime's docs/OperatorKernels.md. Other operators run on the CPU, and a program with one
of them cannot be captured.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
NUMBERS = FLOATS | {TensorProto.INT64}
BOOL = {TensorProto.BOOL}
ANY = NUMBERS | BOOL

KERNELS = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "ReduceSum", "CumSum"), NUMBERS
    ),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "TopK", "Range"), NUMBERS),
    **dict.fromkeys(("Clip", "Max", "ReduceMax", "ReduceMin"), NUMBERS),
    **dict.fromkeys(("ArgMax", "ArgMin", "Exp", "Gemm", "Log", "MatMul", "Pad"), FLOATS),
    **dict.fromkeys(
        ("LogSoftmax", "Softmax", "Sigmoid", "Tanh", "Relu", "ThresholdedRelu"), FLOATS
    ),
    **dict.fromkeys(("Cast", "Concat", "Expand", "Gather", "GatherElements", "Identity"), ANY),
    **dict.fromkeys(("Reshape", "ScatterElements", "ScatterND", "Shape", "Split"), ANY),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "GatherND", "Loop"), ANY),
    "ThresholdedRelu": FLOATS,
    "And": BOOL,
    "Equal": ANY,
    "ConstantOfShape": {TensorProto.INT64},
    "Where": NUMBERS,  # the type of its second input
}
# Inputs that a kernel reads in the host's memory: they must be constant when a graph is captured.
HOST_INPUTS = {
    "TopK": 1,
    "Reshape": 1,
    "Expand": 1,
    "CumSum": 1,
    "ReduceSum": 1,
    "Unsqueeze": 1,
    "Squeeze": 1,
    "Split": 1,
    "Pad": 1,
}


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
    """The program after ONNX Runtime's basic optimization: constants are folded."""
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
        typed = node.input[1 if node.op_type == "Where" else 0]
        if typed:
            assert types[typed] in KERNELS[node.op_type], f"{node.op_type} of {types[typed]}"


def check_no_hops(model: onnx.ModelProto) -> None:
    """Check that no value is computed in one memory and read in the other, by a whole program."""
    check_kernels(model)
    inputs = {value.name for value in model.graph.input}
    given = inputs | {tensor.name for tensor in model.graph.initializer}
    on_host: set[str] = set()
    on_card: set[str] = set()
    for node in model.graph.node:
        assert not any(a.HasField("g") for a in node.attribute), "control flow"
        assert node.op_type not in {"Shape", "Size", "Range"}, "computed on the host"
        for place, name in enumerate(node.input):
            (on_host if HOST_INPUTS.get(node.op_type) == place else on_card).add(name)
    assert on_host <= given, f"computed on the card and read on the host: {on_host - given}"
    assert not inputs & on_host & on_card, "needed in both memories"


def check_capturable(model: onnx.ModelProto) -> None:
    """Check that a whole program runs on a card, and computes nothing on the host."""
    check_kernels(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert not any(a.HasField("g") for a in node.attribute), "control flow"
        assert node.op_type not in {"Shape", "Range"}, "computed on the host"
        if (place := HOST_INPUTS.get(node.op_type)) and len(node.input) > place:
            assert node.input[place] in constants, f"{node.op_type} takes a variable"
