"""A program as the stand-in runs it: by ONNX's reference evaluator, with CUDA's kernels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from tests.server.card.kernels import KERNELS, in_place
from tests.server.card.memory import Array

Shape = tuple[int | str, ...]


class Program:
    """A program whose weights are in the card's memory."""

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, Array]) -> None:
        """`weights` holds every initializer."""
        self.inputs = {value.name: _declared(value) for value in model.graph.input}
        self.outputs = {value.name: _declared(value) for value in model.graph.output}
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        del bare.graph.initializer[:]
        self._evaluator = ReferenceEvaluator(bare, new_ops=KERNELS)
        self._evaluator.rt_inits_.update(weights)

    def run(self, feed: Mapping[str, Array], updated: list[Array]) -> dict[str, Array]:
        """Return the outputs; `updated` are inputs that are also bound as outputs."""
        with np.errstate(all="ignore"), in_place(updated):
            results = self._evaluator.run(None, dict(feed))
        return dict(zip(self.outputs, results, strict=True))

    def check_input(self, name: str, array: Array) -> None:
        """Refuse an array that the program does not take, as ONNX Runtime does."""
        if name not in self.inputs:
            raise ValueError(f"Failed to find input name in the model: {name}")
        dtype, shape = self.inputs[name]
        fits = len(shape) == array.ndim and all(
            isinstance(length, str) or length == found
            for length, found in zip(shape, array.shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            raise ValueError(
                f"Unexpected input {name}: {array.dtype}{array.shape} for {dtype}{shape}"
            )

    def check_output(self, name: str) -> None:
        """Refuse a name that is none of the program's outputs."""
        if name not in self.outputs:
            raise ValueError(f"Failed to find output name in the model: {name}")


def _declared(value: onnx.ValueInfoProto) -> tuple[np.dtype[np.generic], Shape]:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape


def initializers(model: onnx.ModelProto) -> dict[str, Array | None]:
    """Return all initializers; None for those whose values are elsewhere."""
    return {
        tensor.name: None
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        else numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
    }
