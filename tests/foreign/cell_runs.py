"""Runs of a bare cell in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Array = npt.NDArray[Any]


def run_cell(model: Path | bytes, tokens: Array) -> dict[str, Array]:
    """Run the bare cell over tokens `[steps, batch]`; return its outputs `[steps, batch, ...]`.

    `model` is the path of a file, or its content.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    states = {
        value.name: np.zeros((tokens.shape[1], *value.shape[1:]), np.float32)
        for value in session.get_inputs()
        if value.name != "token"
    }
    steps = []
    for row in tokens:
        outputs = dict(zip(names, session.run(names, {"token": row, **states}), strict=True))
        states = {name: outputs[f"next_{name}"] for name in states}
        steps.append(outputs)
    return {name: np.stack([outputs[name] for outputs in steps]) for name in names}


def check_rows_independent(model: Path | bytes, tokens: Array) -> None:
    """Raise AssertionError unless each row has the same bits alone and in the batch."""
    together = run_cell(model, tokens)
    for row in range(tokens.shape[1]):
        alone = run_cell(model, tokens[:, [row]])
        for name, output in alone.items():
            np.testing.assert_array_equal(output[:, 0], together[name][:, row])
