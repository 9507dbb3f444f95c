"""Nodes of an ONNX graph under construction."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

OWN = "cellwire."  # how our names begin; no cell may use such names


class Graph:
    """Nodes and constants; every value they make gets a name of its own, within `part`."""

    def __init__(self, part: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._part = part

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: int) -> str:
        """Add a node with one output and return the output's name."""
        name = name or f"{OWN}{self._part}.{kind}.{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(node)
        return name

    def constant(self, value: object, dtype: type[np.generic]) -> str:
        """Add a constant and return its name."""
        name = f"{OWN}{self._part}.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def axes(self, *axes: int) -> str:
        """Add a list of axes and return its name."""
        return self.constant(axes, np.int64)
