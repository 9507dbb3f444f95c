"""Model files of the models that the fake daemon has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.client.fake.models import (
    ALPHABET,
    JUDGE,
    LABELS,
    SCORES,
    SYMBOLS,
    WORDS,
    log_probability,
)

from cellwire.v1.models_pb2 import Model


def write_models(folder: Path) -> tuple[Path, ...]:
    """Write the models, and `spare`, a copy of the first that is not served at the start."""
    logits = np.array([[log_probability(a, b) for b in SYMBOLS] for a in SYMBOLS], np.float32)
    scores = np.tile(np.array(SCORES, np.float32), (256, 1))
    scores[0xFF] = 0  # a byte of no text; a model that heeds no token is refused
    characters: dict[str, object] = {"kind": "characters", "symbols": list(SYMBOLS)}
    _write(folder / "spare.onnx", ALPHABET, characters, "logits", logits)
    return (
        _write(folder / "alphabet.onnx", ALPHABET, characters, "logits", logits),
        _write(folder / "judge.onnx", JUDGE, {"kind": "bytes"}, "scores", scores, LABELS),
        _write(folder / "words.onnx", WORDS, characters | {"kind": "words"}, "logits", logits),
    )


def _write(
    path: Path,
    model: Model,
    vocabulary: Mapping[str, object],
    output: str,
    table: npt.NDArray[np.float32],
    labels: tuple[str, ...] = (),
) -> Path:
    """Write a cell whose output is the row of a table (symbols, width) for the token read."""
    manifest: dict[str, object] = {
        "version": 1,
        "vocabulary": vocabulary,
        "cell": {
            "kind": model.cell_kind,
            "layers": model.layer_count,
            "hidden": model.hidden_size,
        },
        "labels": list(labels),
    }
    if model.HasField("training"):
        manifest["training"] = {
            "corpus": model.training.corpus,
            "steps": model.training.step_count,
            "validation_bits_per_character": model.training.validation_bits_per_character,
        }
    cell = helper.make_model(
        _graph(output, table), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    helper.set_model_props(cell, {"cellwire.manifest": json.dumps(manifest)})
    onnx.save(cell, path)
    return path


def _graph(output: str, table: npt.NDArray[np.float32]) -> onnx.GraphProto:
    """Return the graph of a cell; its state, of which it makes no use, is the last token."""
    float32 = TensorProto.FLOAT
    nodes = [
        helper.make_node("Gather", ["table", "token"], [output]),
        helper.make_node("Cast", ["token"], ["number"], to=float32),
        helper.make_node("Unsqueeze", ["number", "last_axis"], ["next_state.h"]),
    ]
    inputs = [
        helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("state.h", float32, ["batch", 1]),
    ]
    outputs = [
        helper.make_tensor_value_info(output, float32, ["batch", table.shape[1]]),
        helper.make_tensor_value_info("next_state.h", float32, ["batch", 1]),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1], np.int64), "last_axis"),
    ]
    return helper.make_graph(nodes, "cell", inputs, outputs, constants)
