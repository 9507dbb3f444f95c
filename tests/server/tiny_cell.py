"""Small cells with random weights, for tests of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SYMBOLS = tuple("abcdefghijklmnopqrstuvwxyz ,.\n世é")


def manifest(vocabulary: dict[str, Any], labels: tuple[str, ...] = ()) -> str:
    return json.dumps(
        {
            "version": 1,
            "vocabulary": vocabulary,
            "cell": {"kind": "lstm", "layers": 1, "hidden": 1},
            "labels": list(labels),
        }
    )


class CellWriter:
    """Builds a cell's graph node by node."""

    def __init__(
        self,
        symbols: tuple[str, ...] = SYMBOLS,
        seed: int = 0,
        opset: int = 20,
        vocabulary: dict[str, Any] | None = None,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.vocabulary = vocabulary or {"kind": "characters", "symbols": list(symbols)}
        self.labels = labels
        self.size = 256 if self.vocabulary["kind"] == "bytes" else len(self.vocabulary["symbols"])
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.inputs = [helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])]
        self.outputs = [self.output("scores", len(labels))] if labels else []
        if not labels:
            self.outputs.append(self.output("logits", self.size))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    @staticmethod
    def output(name: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])

    def weights(self, name: str, *shape: int) -> str:
        values = self.random.normal(size=shape) / np.sqrt(shape[0])
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def integers(self, name: str, *values: int) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def state(self, name: str, width: int) -> str:
        float32 = TensorProto.FLOAT
        row: list[str | int | None] = ["batch", width]
        self.inputs.append(helper.make_tensor_value_info(f"state.{name}", float32, row))
        self.outputs.append(helper.make_tensor_value_info(f"next_state.{name}", float32, row))
        return f"state.{name}"

    def node(self, kind: str, inputs: list[str], *outputs: str, axis: int | None = None) -> str:
        axes: dict[str, Any] = {} if axis is None else {"axis": axis}
        self.nodes.append(helper.make_node(kind, inputs, list(outputs), **axes))
        return outputs[0]

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "cell", self.inputs, self.outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )
        helper.set_model_props(model, {"cellwire.manifest": manifest(self.vocabulary, self.labels)})
        return model


def lstm_cell(
    hidden: int = 16,
    symbols: tuple[str, ...] = SYMBOLS,
    seed: int = 0,
    vocabulary: dict[str, Any] | None = None,
) -> CellWriter:
    """One LSTM layer; gate order i, f, o, g."""
    cell = CellWriter(symbols, seed, vocabulary=vocabulary)
    h, c = cell.state("h", hidden), cell.state("c", hidden)
    cell.node("Gather", [cell.weights("table", cell.size, 4 * hidden), "token"], "row")
    cell.node("Gemm", [h, cell.weights("recurrent", hidden, 4 * hidden), "row"], "gates")
    cell.node(
        "Split", ["gates", cell.integers("three_one", 3 * hidden, hidden)], "ifo", "g", axis=1
    )
    cell.node("Sigmoid", ["ifo"], "open")
    thirds = cell.integers("thirds", hidden, hidden, hidden)
    cell.node("Split", ["open", thirds], "input", "forget", "output", axis=1)
    cell.node("Mul", ["input", cell.node("Tanh", ["g"], "candidate")], "new")
    cell.node("Add", ["new", cell.node("Mul", ["forget", c], "kept")], "next_state.c")
    squashed = cell.node("Tanh", ["next_state.c"], "squashed")
    cell.node("Mul", ["output", squashed], "next_state.h")
    head = cell.weights("head", hidden, cell.size)
    cell.node("Gemm", ["next_state.h", head], "small")
    cell.constants.append(numpy_helper.from_array(np.array(6, np.float32), "spread"))
    cell.node("Mul", ["small", "spread"], "logits")
    return cell


def previous_token_cell(symbols: tuple[str, ...] = SYMBOLS) -> CellWriter:
    """The likeliest token is the previous one: the next state does not depend on the state."""
    cell = CellWriter(symbols)
    cell.state("previous", len(symbols))
    cell.constants.append(numpy_helper.from_array(np.array([0, 1], np.float32), "off_on"))
    cell.integers("depth", len(symbols))
    cell.node("OneHot", ["token", "depth", "off_on"], "next_state.previous", axis=-1)
    cell.constants.append(numpy_helper.from_array(np.array(50, np.float32), "steep"))
    cell.node("Mul", ["state.previous", "steep"], "logits")
    return cell


def counting_cell(shape: tuple[int, ...]) -> CellWriter:
    """A state of any shape, filled with the number of steps so far; logits depend on the token."""
    cell = CellWriter()
    row: list[str | int | None] = ["batch", *shape]
    float32 = TensorProto.FLOAT
    cell.inputs.append(helper.make_tensor_value_info("state.count", float32, row))
    cell.outputs.append(helper.make_tensor_value_info("next_state.count", float32, row))
    cell.constants.append(numpy_helper.from_array(np.array(1, np.float32), "one"))
    cell.node("Add", ["state.count", "one"], "next_state.count")
    cell.node("Gather", [cell.weights("table", cell.size, cell.size), "token"], "logits")
    return cell


def vast_cell(width: int) -> CellWriter:
    """A state of `width` numbers that are never used."""
    cell = CellWriter()
    cell.node("Identity", [cell.state("vast", width)], "next_state.vast")
    cell.node("Gather", [cell.weights("table", cell.size, cell.size), "token"], "logits")
    return cell


def labelled_cell() -> CellWriter:
    """Counts tokens, and keeps a trace of them; scores the number left of ten, and that so far."""
    cell = CellWriter(labels=("few", "many"))
    count, trace = cell.state("count", 1), cell.state("trace", 1)
    cell.constants += [
        numpy_helper.from_array(np.array([1], np.float32), "one"),
        numpy_helper.from_array(np.array([10], np.float32), "ten"),
    ]
    cell.node("Gather", [cell.weights("table", cell.size, 1), "token"], "row")
    cell.node("Add", [trace, "row"], "sum")
    cell.node("Tanh", ["sum"], "next_state.trace")
    cell.node("Add", [count, "one"], "next_state.count")
    cell.node("Sub", ["ten", "next_state.count"], "left")
    cell.node("Concat", ["left", "next_state.count"], "scores", axis=1)
    return cell


def write_cell(path: Path, cell: CellWriter | None = None) -> Path:
    onnx.save(cell.model() if cell else lstm_cell().model(), path)
    return path
