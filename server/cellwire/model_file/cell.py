"""A model file: the cell's graph, checked against the contract, and its manifest.

The graph computes one step for a batch of texts. docs/model-file.md has the contract in full:

- inputs: `token`, int64 `[batch]`; `state.<name>`, float32 `[batch, ...]`, one or more
- outputs: `next_state.<name>`, of the shape of `state.<name>`; `logits`, float32
  `[batch, symbols]`, if the model generates; `scores`, float32 `[batch, labels]`, if it classifies
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from cellwire.model_file.errors import BadModel
from cellwire.model_file.manifest import METADATA_KEY, Manifest, parse_manifest
from cellwire.model_file.required_tensor import RequiredTensor, Values, row_shape

TOKEN = "token"  # noqa: S105  # the name of an input, not a secret
LOGITS = "logits"
SCORES = "scores"
STATE = "state."
NEXT_STATE = "next_state."

BUILT_IN_MODEL = Path(__file__).parent / "austen.onnx"

_MIN_OPSET = 18  # ReduceMax takes its axes as an input since then, and the programs pass them so
_FLOAT32, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One tensor of the cell's state."""

    name: str  # without the prefix
    shape: tuple[int, ...]  # of one row: without the batch

    @property
    def bytes(self) -> int:
        """The size of one row."""
        return _FLOAT32_BYTES * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Cell:
    """A model that keeps the contract."""

    path: Path
    sha256: str  # of the file, in hexadecimal
    graph: onnx.ModelProto
    states: tuple[StateTensor, ...]
    generates: bool  # whether it has logits
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name: its file name without the suffix."""
        return self.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the columns of `scores`; empty if the model does not classify."""
        return self.manifest.labels

    @property
    def state_bytes(self) -> int:
        """The size of one session's state."""
        return sum(state.bytes for state in self.states)


def read_cell(path: Path) -> Cell:
    """Read a model file and check it against the contract.

    BadModel names the file, the fault, and what the contract requires.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}") from error
    try:
        model = _parse(raw)
        manifest = _read_manifest(model)
        states = _check_interface(model, manifest)
        generates = any(output.name == LOGITS for output in model.graph.output)
        model = _convert_old_opset(model)
    except ValueError as error:
        raise BadModel(f"{path}: {error}") from error
    return Cell(path, hashlib.sha256(raw).hexdigest(), model, states, generates, manifest)


def _parse(raw: bytes) -> onnx.ModelProto:
    """Return the model in a file's bytes; ValueError unless ONNX's checker accepts it."""
    try:
        model = onnx.load_model_from_string(raw)
        onnx.checker.check_model(model, full_check=True)
    except (
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,  # from an unknown element type, or a name in the message that is not UTF-8
    ) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else "cannot be parsed"
        raise ValueError(f"not a complete, valid ONNX model ({reason})") from error
    return model


def _read_manifest(model: onnx.ModelProto) -> Manifest:
    """Return the manifest in the model's metadata; ValueError if it is missing or invalid."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                return parse_manifest(entry.value)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"metadata {METADATA_KEY!r}: {error}") from error
    raise ValueError(
        f"no {METADATA_KEY!r} in its metadata; add a manifest as docs/model-file.md describes, "
        "or write the file with cellwire export"
    )


def _check_interface(model: onnx.ModelProto, manifest: Manifest) -> tuple[StateTensor, ...]:
    """Return the states; ValueError names the input or output that breaks the contract."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {v.name: v for v in model.graph.input if v.name not in constants}
    outputs = {v.name: v for v in model.graph.output}
    RequiredTensor("input", TOKEN, _INT64, ()).check(inputs)
    _check_heads(outputs, manifest)
    states = tuple(_read_state(name, inputs) for name in inputs if name != TOKEN)
    if not states:
        raise ValueError(f"no input '{STATE}<name>'; a cell needs at least one state")
    for state in states:
        reason = f"like '{STATE}{state.name}'"
        RequiredTensor("output", NEXT_STATE + state.name, _FLOAT32, state.shape, reason).check(
            outputs
        )
    _check_no_others(outputs, states)
    return states


def _check_heads(outputs: Values, manifest: Manifest) -> None:
    """Raise ValueError unless the logits fit the vocabulary, and the scores the labels."""
    labels = len(manifest.labels)
    if SCORES in outputs and not labels:
        raise ValueError(
            f"output {SCORES!r} has no labels; list them under 'labels' in the manifest"
        )
    if labels:
        reason = "one column for each label in the manifest"
        RequiredTensor("output", SCORES, _FLOAT32, (labels,), reason).check(outputs)
    if LOGITS in outputs or not labels:
        reason = "one column for each symbol of the vocabulary"
        RequiredTensor("output", LOGITS, _FLOAT32, (manifest.vocabulary.size,), reason).check(
            outputs
        )


def _read_state(name: str, inputs: Values) -> StateTensor:
    """Return the state that enters by an input; ValueError if it is not a float32 state."""
    if not name.startswith(STATE):
        raise ValueError(
            f"input {name!r} is not in the contract; "
            f"remove it, or name it '{STATE}<name>' if it is a state"
        )
    shape = row_shape(inputs[name])
    RequiredTensor("input", name, _FLOAT32, shape).check(inputs)
    return StateTensor(name.removeprefix(STATE), shape)


def _check_no_others(outputs: Values, states: Iterable[StateTensor]) -> None:
    expected = {LOGITS, SCORES, *(NEXT_STATE + state.name for state in states)}
    if others := outputs.keys() - expected:
        raise ValueError(
            f"output {min(others)!r} is not in the contract; "
            f"remove it, or add its input '{STATE}<name>' if it is a state"
        )


def _convert_old_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with an operator set of at least 18; ValueError if ONNX cannot convert."""
    for opset in model.opset_import:
        if opset.domain in {"", "ai.onnx"} and opset.version < _MIN_OPSET:
            try:
                return onnx.version_converter.convert_version(model, _MIN_OPSET)
            except RuntimeError as error:
                raise ValueError(
                    f"operator set {opset.version} cannot be converted to {_MIN_OPSET}; "
                    f"write the file with operator set {_MIN_OPSET} or later ({error})"
                ) from error
    return model
