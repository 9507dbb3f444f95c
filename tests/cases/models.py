"""Small model files, right and wrong, as people make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.server.tiny_cell import CellWriter

from cellwire.model_file.cell import read_cell
from cellwire.server.runtime.cell_trial import check_cell
from cellwire.server.runtime.device import Execution

SYMBOLS = tuple("abcdefghij \n")
WIDTH = len(SYMBOLS)


def constant(cell: CellWriter, name: str, values: object, dtype: type = np.float32) -> str:
    cell.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def recurrent(  # a test names the part that it changes
    between: Sequence[onnx.NodeProto] = (),
    *,
    width: int = WIDTH,
    activation: str = "Tanh",
    symbols: tuple[str, ...] = SYMBOLS,
    opset: int = 20,
) -> CellWriter:
    """A plain recurrent cell; `between` are nodes that turn `state.h` into `s`."""
    cell = CellWriter(symbols, opset=opset)
    state = cell.state("h", width)
    cell.node("Gather", [cell.weights("table", len(symbols), width), "token"], "x")
    cell.nodes.extend(between or [helper.make_node("Identity", [state], ["s"])])
    cell.node("MatMul", ["s", cell.weights("recurrent", width, width)], "r")
    cell.node("Add", ["x", "r"], "a")
    cell.node(activation, ["a"], "next_state.h")
    cell.node("MatMul", ["next_state.h", cell.weights("head", width, len(symbols))], "logits")
    return cell


def node(operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> onnx.NodeProto:  # noqa: ANN401  # onnx's
    return helper.make_node(operator, inputs, list(outputs), **attributes)


def value(name: str, *shape: str | int, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, list(shape))


def saved(model: onnx.ModelProto | CellWriter, path: Path) -> Path:
    onnx.save(model.model() if isinstance(model, CellWriter) else model, path)
    return path


def tried(path: Path, threads: int = 1) -> tuple[str, ...]:
    """Read and try a model file; return the notes. BadModel."""
    return check_cell(read_cell(path), Execution(threads=threads))
