"""ONNX Runtime's messages without its codes, sources and paths."""

from __future__ import annotations

import pytest

from cellwire.model_file.runtime_text import plain

RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. "
    "Name:'{name}' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/"
    "reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const "
    "onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) "
    "input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped to "
    "the requested shape. Input shape:{{2,12}}, requested shape:{{1,12}}\n"
)
NESTED = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Loop node. "
    "Name:'outer' Status Message: Non-zero status code returned while running Gather node. "
    "Name:'inner' Status Message: indices element out of data bounds"
)
REASON = (
    "The input tensor cannot be reshaped to the requested shape. Input shape:{2,12}, "
    "requested shape:{1,12}"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RESHAPE.format(name="fold"), f"node 'fold' (Reshape): {REASON}"),
        (RESHAPE.format(name=""), f"a node Reshape: {REASON}"),
        (
            NESTED,
            "node 'inner' (Gather): indices element out of data bounds",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Fatal error: own:Foo(-1) is not a registered op",
            "Fatal error: own:Foo(-1) is not a registered op",
        ),
        (
            "Load model from /home/someone/models/a.onnx failed:no",
            "Load model from ... failed:no",
        ),
        (r"file C:\models\private\a.onnx is missing", "file ... is missing"),
        ("", "for a reason that ONNX Runtime does not name"),
        ("x" * 300, "x" * 200 + "..."),
    ],
)
def test_a_message_says_the_node_and_the_reason(text: str, expected: str) -> None:
    assert plain(text) == expected
