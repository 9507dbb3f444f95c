"""Half-precision weights on a CPU, which computes in float32.

ONNX Runtime's CPU provider widens half-precision weights in every step, which takes longer than the
products themselves. So on the CPU they are widened once, when a model is loaded, and their factors
are no longer narrowed. The results are slightly more exact than the model's own, and as with any
float32 model, a row gets the same bits in any batch.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def widen_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in float32, or unchanged if more than its weights is half precision."""
    if not any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        return model
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    del wide.graph.value_info[:]
    try:
        onnx.checker.check_model(wide, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return model
    return wide
