"""The nodes and constants of a graph in the making."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from cellwire.exporter.export.fold import Affine, Float32


class Nodes:
    """Nodes of float32 numbers; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Keep an array in the graph."""
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, out: str, to: int | None = None) -> str:
        """Add a node; `to` is the type that a Cast casts to."""
        self.nodes.append(helper.make_node(operator, inputs, [out], name=out, to=to))
        return out

    def split(self, what: str, **widths: int) -> list[str]:
        """Split the columns of `what` into parts of these widths."""
        parts = [f"{what}.{part}" for part in widths]
        sizes = self.constant(f"{what}.widths", np.array(list(widths.values())))
        self.nodes.append(
            helper.make_node("Split", [what, sizes], parts, name=f"{what}.split", axis=1)
        )
        return parts

    def look_up(self, out: str, rows: Float32, places: str) -> str:
        """Return the `rows` [n, m] at `places` [batch]: [batch, m]."""
        return self.add("Gather", self.constant(f"{out}.table", rows), places, out=out)

    def affine(self, out: str, rows: str, by: Affine) -> str:
        """`rows` [batch, n] times the weights, and the bias: [batch, m]."""
        return self.product(out, rows, by.weights, self.constant(f"{out}.bias", by.bias))

    def product(self, out: str, rows: str, weights: Float32, plus: str) -> str:
        """`rows` [batch, n] times `weights` [n, m], and what is named `plus`: [m] or [batch, m]."""
        return self.add("Gemm", rows, self.constant(f"{out}.weights", weights), plus, out=out)
