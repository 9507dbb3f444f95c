"""The cell alone, and its matrix products alone: what the daemon's program is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from cellwire.exporter.export.graph import IR_VERSION, OPSET

Array = npt.NDArray[Any]

_STATE, _NEXT_STATE = "state.", "next_state."
_QUIET = 3  # errors only
_SEED = 11


class BareCell:
    """A cell without arena and sampling; its states are passed by hand.

    Everything is bound once: two sets of state buffers, and a binding for each way between them.
    """

    def __init__(self, model: Path, threads: int, rows: int) -> None:
        self._session = _session(model.read_bytes(), threads)
        token = np.random.default_rng(_SEED).integers(2, size=rows)
        states = {
            value.name.removeprefix(_STATE): value.shape[1]
            for value in self._session.get_inputs()
            if value.name.startswith(_STATE)
        }
        logits = np.zeros((rows, self._session.get_outputs()[0].shape[1]), np.float32)
        here, there = (
            {name: np.zeros((rows, width), np.float32) for name, width in states.items()}
            for _ in range(2)
        )
        self._buffers = [token, logits, *here.values(), *there.values()]
        self._bindings = [
            self._bind(token, before, after, logits)
            for before, after in ((here, there), (there, here))
        ]
        self._turn = 0

    def _bind(
        self, token: Array, before: dict[str, Array], after: dict[str, Array], logits: Array
    ) -> ort.IOBinding:
        binding = self._session.io_binding()
        _bind(binding.bind_input, "token", token)
        _bind(binding.bind_output, "logits", logits)
        for name, rows in before.items():
            _bind(binding.bind_input, _STATE + name, rows)
            _bind(binding.bind_output, _NEXT_STATE + name, after[name])
        return binding

    def step(self) -> None:
        """Run the cell once."""
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn


class Products:
    """The cell's matrix products alone, each on constant rows."""

    def __init__(self, model: Path, threads: int, rows: int) -> None:
        graph = _products_of(onnx.load(model))
        self._session = _session(graph.SerializeToString(), threads)
        random = np.random.default_rng(_SEED)
        self._binding = self._session.io_binding()
        self._buffers: list[Array] = []
        for value in self._session.get_inputs():
            array = random.uniform(-1, 1, (rows, value.shape[1])).astype(np.float32)
            _bind(self._binding.bind_input, value.name, array)
            self._buffers.append(array)
        for value in self._session.get_outputs():
            array = np.zeros((rows, value.shape[1]), np.float32)
            _bind(self._binding.bind_output, value.name, array)
            self._buffers.append(array)

    def step(self) -> None:
        """Compute all of them once."""
        self._session.run_with_iobinding(self._binding)


def _products_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph of a model's `Gemm` nodes, without what they add."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, inputs, outputs, constants = [], [], [], []
    for node in model.graph.node:
        if node.op_type != "Gemm":
            continue
        constant = weights[node.input[1]]
        above, below = constant.dims
        rows, product = f"{node.name}.rows", f"{node.name}.product"
        nodes.append(helper.make_node("Gemm", [rows, constant.name], [product]))
        constants.append(constant)
        inputs.append(_rows(rows, above))
        outputs.append(_rows(product, below))
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    return helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )


def _rows(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])


def _session(graph: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _bind(binder: Any, name: str, array: Array) -> None:  # noqa: ANN401  # onnxruntime has no types
    binder(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
