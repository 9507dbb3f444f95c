"""Models as the daemon's graphs need them: one graph, and an operator set that is not too old."""

from __future__ import annotations

import onnx
import onnx.inliner

MIN_OPSET = 18  # ReduceMax takes its axes as an input since then, and the programs pass them so
OLDEST_OPSET = 7

_MIN_IR_VERSION = 8  # constants need not be inputs since 4; operator set 18 came with 8
_ONNX = {"", "ai.onnx"}

# What ONNX raises for a model that it cannot convert; its C++ errors arrive as RuntimeError.
_ERRORS = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operator set that a model uses; 1 if it says none."""
    return next((o.version for o in model.opset_import if o.domain in _ONNX), 1)


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with an operator set that is recent enough; ValueError.

    The model has no functions and no constants among its inputs: the converter knows neither.
    """
    version = opset_of(model)
    if version >= MIN_OPSET:
        return model
    try:
        if version < OLDEST_OPSET:
            raise ValueError("it is older than all that are converted")
        return onnx.version_converter.convert_version(model, MIN_OPSET)
    except _ERRORS as error:
        raise ValueError(
            f"operator set {version} cannot be converted to {MIN_OPSET} ({first_line(error)}); "
            f"write the file with operator set {MIN_OPSET} or later: "
            f"torch.onnx.export(..., opset_version={MIN_OPSET})"
        ) from error


def drop_constant_inputs(model: onnx.ModelProto) -> None:
    """Drop the inputs that are constants, as all are in files of IR version 3."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _MIN_IR_VERSION)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each call of one of its functions replaced by the function's body.

    ValueError if ONNX cannot do that.
    """
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except _ERRORS as error:
        raise ValueError(
            f"its functions cannot be put in the place of their calls ({first_line(error)}); "
            "write the file without functions"
        ) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
