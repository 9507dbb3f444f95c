"""Nodes of a program, run by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from cellwire.server.programs.graph import Graph

Run = Callable[..., Sequence[np.ndarray]]


def runs(
    graphs: Sequence[Graph], inputs: Mapping[str, int], outputs: Sequence[str], threads: int = 1
) -> Run:
    """Return a function of float32 inputs, [batch, width] each; `inputs` says how wide."""
    model = helper.make_model(
        helper.make_graph(
            [node for graph in graphs for node in graph.nodes],
            "nodes",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
                for name, width in inputs.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [constant for graph in graphs for constant in graph.constants],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(*arrays: np.ndarray) -> Sequence[np.ndarray]:
        feed = {
            name: np.asarray(array, np.float32).reshape(-1, width)
            for (name, width), array in zip(inputs.items(), arrays, strict=True)
        }
        return [np.asarray(output) for output in session.run(list(outputs), feed)]

    return run
