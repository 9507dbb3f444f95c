"""From a GRU's weights to a model file: python gru.py WEIGHTS.npz SYMBOLS.txt MODEL.onnx."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


def gru_nodes(layers: int) -> list[onnx.NodeProto]:
    """Return the cell: embedding, one step of each layer, head."""
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, *inputs: str, out: str = "") -> str:
        out = out or f"value{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [out]))
        return out

    def gates(source: str, name: str) -> list[str]:
        inputs = [source, f"gru.weight_{name}", f"gru.bias_{name}"]
        parts = [f"{name}.{gate}" for gate in ("reset", "update", "new")]
        nodes.append(helper.make_node("Gemm", inputs, [name], transB=1))
        nodes.append(helper.make_node("Split", [name], parts, axis=1, num_outputs=3))
        return parts

    layer_input = add("Gather", "embedding.weight", "token")
    for n in range(layers):
        before = f"state.h{n}"
        reset_in, update_in, new_in = gates(layer_input, f"ih_l{n}")
        reset_on, update_on, new_on = gates(before, f"hh_l{n}")
        reset = add("Sigmoid", add("Add", reset_in, reset_on))
        update = add("Sigmoid", add("Add", update_in, update_on))
        new = add("Tanh", add("Add", new_in, add("Mul", reset, new_on)))
        kept = add("Mul", update, add("Sub", before, new))
        layer_input = add("Add", new, kept, out=f"next_state.h{n}")
    head = [layer_input, "head.weight", "head.bias"]
    nodes.append(helper.make_node("Gemm", head, ["logits"], transB=1))
    return nodes


def rows(name: str, width: int) -> onnx.ValueInfoProto:
    """Describe an input or output with one row for each session of a step."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])


def gru_model(weights: Mapping[str, npt.NDArray[np.float32]], symbols: str) -> onnx.ModelProto:
    """Return the model: the cell, its weights, and its manifest."""
    layers = sum(name.startswith("gru.weight_hh") for name in weights)
    hidden = weights["gru.weight_hh_l0"].shape[1]
    token = helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])
    inputs = [token, *(rows(f"state.h{n}", hidden) for n in range(layers))]
    outputs = [rows("logits", len(symbols))]
    outputs += [rows(f"next_state.h{n}", hidden) for n in range(layers)]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(gru_nodes(layers), "gru", inputs, outputs, constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    manifest = {
        "version": 1,
        "vocabulary": {"kind": "characters", "symbols": list(symbols)},
        "cell": {"kind": "gru", "layers": layers, "hidden": hidden},
    }
    helper.set_model_props(model, {"cellwire.manifest": json.dumps(manifest)})
    return model


if __name__ == "__main__":
    arrays, symbols, model_file = map(Path, sys.argv[1:])
    with np.load(arrays) as weights:
        model = gru_model(weights, symbols.read_text(encoding="utf-8"))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, model_file)
