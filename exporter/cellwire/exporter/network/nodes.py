"""A builder for the nodes and constants of an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from cellwire.exporter.network.weights import Affine, Float32


class Nodes:
    """Nodes in float32. Methods take and return names of values in the graph.

    A node has the name of its output.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, out: str, to: int | None = None) -> str:
        """Add a node; `to` is the element type of a Cast."""
        self.nodes.append(helper.make_node(operator, inputs, [out], name=out, to=to))
        return out

    def split(self, rows: str, **widths: int) -> list[str]:
        """Split rows `[batch, n]` into parts of the given names and widths."""
        parts = [f"{rows}.{part}" for part in widths]
        sizes = self.constant(f"{rows}.widths", np.array(list(widths.values())))
        self.nodes.append(
            helper.make_node("Split", [rows, sizes], parts, name=f"{rows}.split", axis=1)
        )
        return parts

    def look_up(self, out: str, table: Float32, indices: str) -> str:
        """Add the rows of a table `[n, m]` at int64 indices `[batch]`: `[batch, m]`."""
        return self.add("Gather", self.constant(f"{out}.table", table), indices, out=out)

    def affine(self, out: str, rows: str, affine: Affine) -> str:
        """Add an affine map of rows `[batch, n]`: `[batch, m]`."""
        bias = self.constant(f"{out}.bias", affine.bias)
        return self.product(out, rows, affine.weights, bias)

    def product(self, out: str, rows: str, weights: Float32, addend: str) -> str:
        """Add the product of rows `[batch, n]` and weights `[n, m]`, plus an addend.

        The addend is `[m]` or `[batch, m]`, the result `[batch, m]`.
        """
        return self.add("Gemm", rows, self.constant(f"{out}.weights", weights), addend, out=out)

    def interpolate(self, layer: int, *, start: str, end: str, weight: str) -> str:
        """Add the new h of a layer: start + weight (end - start), each `[batch, hidden]`."""
        difference = self.add("Sub", end, start, out=f"layer{layer}.difference")
        weighted = self.add("Mul", weight, difference, out=f"layer{layer}.weighted")
        return self.add("Add", start, weighted, out=f"next_state.h{layer}")
