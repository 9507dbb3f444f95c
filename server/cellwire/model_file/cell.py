"""A model file: the cell's graph, checked against the contract, and its manifest.

The contract: inputs `token: int64[batch]` and, for each state, `state.<name>: float32[batch, ...]`;
outputs `next_state.<name>` of the state's shape, and `logits: float32[batch, vocabulary]` of a cell
that writes, `scores: float32[batch, labels]` of one whose manifest has labels; or both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from cellwire.model_file.errors import BadModel
from cellwire.model_file.manifest import METADATA_KEY, Manifest, parse_manifest

TOKEN = "token"  # noqa: S105  # the name of an input, not a secret
LOGITS = "logits"
SCORES = "scores"
STATE = "state."
NEXT_STATE = "next_state."

BUILT_IN_MODEL = Path(__file__).parent / "austen.onnx"

_MIN_OPSET = 18  # the first with ReduceMax's axes as an input, which the program needs


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One part of the cell's state."""

    name: str
    shape: tuple[int, ...]  # of one row

    @property
    def bytes(self) -> int:
        """The size of one row."""
        size = 4
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True, slots=True)
class Cell:
    """A model that keeps the contract."""

    path: Path
    sha256: str
    graph: onnx.ModelProto
    states: tuple[StateTensor, ...]
    writes: bool  # whether it has logits
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name: its file's stem."""
        return self.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """What its scores are for; none if it does not classify."""
        return self.manifest.labels

    @property
    def state_bytes(self) -> int:
        """The size of one session's state."""
        return sum(state.bytes for state in self.states)


def read_cell(path: Path) -> Cell:
    """Read a model file; BadModel names the file and what is wrong with it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}") from error
    try:
        graph = onnx.load_model_from_string(raw)
        onnx.checker.check_model(graph, full_check=True)
    except (
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,  # a type that there is not, or a message about a name that is not UTF-8
    ) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else "cannot be parsed"
        raise BadModel(f"{path}: not one whole, valid ONNX model ({reason})") from error
    try:
        manifest = _manifest(graph)
        states = _states(graph, manifest)
        writes = any(output.name == LOGITS for output in graph.graph.output)
        graph = _at_least_opset(graph)
    except ValueError as error:
        raise BadModel(f"{path}: {error}") from error
    return Cell(path, hashlib.sha256(raw).hexdigest(), graph, states, writes, manifest)


def _manifest(model: onnx.ModelProto) -> Manifest:
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                return parse_manifest(entry.value)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"metadata {METADATA_KEY!r}: {error}") from error
    raise ValueError(f"no {METADATA_KEY!r} in its metadata; cellwire export writes it")


def _states(model: onnx.ModelProto, manifest: Manifest) -> tuple[StateTensor, ...]:
    """Check the graph's inputs and outputs; ValueError names the one at fault."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = {v.name: v for v in model.graph.input if v.name not in initialized}
    outputs = {v.name: v for v in model.graph.output}
    _require(inputs, TOKEN, onnx.TensorProto.INT64, ())
    if LOGITS in outputs or not manifest.labels:
        _require(outputs, LOGITS, onnx.TensorProto.FLOAT, (manifest.vocabulary.size,))
    if SCORES in outputs or manifest.labels:
        _require(outputs, SCORES, onnx.TensorProto.FLOAT, (len(manifest.labels),))
    states = []
    for name, value in inputs.items():
        if name == TOKEN:
            continue
        if not name.startswith(STATE):
            raise ValueError(f"input {name!r} is neither {TOKEN!r} nor '{STATE}<name>'")
        shape = _row_shape(name, value)
        state = StateTensor(name.removeprefix(STATE), shape)
        _require(inputs, name, onnx.TensorProto.FLOAT, shape)
        _require(outputs, NEXT_STATE + state.name, onnx.TensorProto.FLOAT, shape)
        states.append(state)
    if not states:
        raise ValueError(f"no input is named '{STATE}<name>': a cell needs a state")
    expected = {LOGITS, SCORES, *(NEXT_STATE + state.name for state in states)}
    if strange := outputs.keys() - expected:
        raise ValueError(f"output {min(strange)!r} belongs to no state")
    return tuple(states)


def _require(
    values: dict[str, onnx.ValueInfoProto], name: str, element: int, row: tuple[int, ...]
) -> None:
    """Raise ValueError unless `name` is there, of this element type and row shape."""
    kind = "output" if name in {LOGITS, SCORES} or name.startswith(NEXT_STATE) else "input"
    wanted = (
        f"{onnx.TensorProto.DataType.Name(element).lower()}[{', '.join(['batch', *map(str, row)])}]"
    )
    if name not in values:
        raise ValueError(f"no {kind} {name!r}; it must be {wanted}")
    found = values[name].type.tensor_type.elem_type
    if found != element or _row_shape(name, values[name]) != row:
        raise ValueError(f"{kind} {name!r} is {_described(values[name])}; it must be {wanted}")


def _row_shape(name: str, value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape behind the batch; ValueError unless batch is dynamic and the rest fixed."""
    dimensions = value.type.tensor_type.shape.dim
    if not dimensions or dimensions[0].HasField("dim_value"):
        raise ValueError(
            f"{name!r} is {_described(value)}; its first dimension must be the batch, of any size"
        )
    if not all(d.HasField("dim_value") and d.dim_value > 0 for d in dimensions[1:]):
        raise ValueError(
            f"{name!r} is {_described(value)}; every dimension after the batch must be fixed"
        )
    return tuple(d.dim_value for d in dimensions[1:])


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    element = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    lengths = [
        str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in tensor.shape.dim
    ]
    return f"{element}[{', '.join(lengths)}]"


def _at_least_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a model of an older operator set."""
    for opset in model.opset_import:
        if opset.domain in {"", "ai.onnx"} and opset.version < _MIN_OPSET:
            try:
                return onnx.version_converter.convert_version(model, _MIN_OPSET)
            except RuntimeError as error:
                raise ValueError(
                    f"operator set {opset.version} cannot be converted to {_MIN_OPSET}: {error}"
                ) from error
    return model
