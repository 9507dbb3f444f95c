"""A model file: the cell's graph, checked against the contract, and its manifest.

The graph computes one step for a batch of texts. docs/model-file.md has the contract in full:

- inputs: `token`, int64 `[batch]`; `state.<name>`, float32 `[batch, ...]`, one or more
- outputs: `next_state.<name>`, of the shape of `state.<name>`; `logits`, float32
  `[batch, symbols]`, if the model generates; `scores`, float32 `[batch, labels]`, if it classifies

What the graph computes is not looked at here; see trial.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from cellwire.model_file.conversion import converted, drop_constant_inputs, first_line, inlined
from cellwire.model_file.errors import BadModel
from cellwire.model_file.external_data import embed_external_data
from cellwire.model_file.interface import Interface, StateTensor
from cellwire.model_file.manifest import METADATA_KEY, Manifest, parse_manifest
from cellwire.model_file.stored_file import read_file

BUILT_IN_MODEL = Path(__file__).parent / "austen.onnx"

_EXPORTER = "cellwire"  # what `cellwire export` writes as the producer


@dataclass(frozen=True, slots=True)
class Cell:
    """A model that keeps the contract."""

    path: Path
    sha256: str  # of the file and then of the files of its weights, in hexadecimal
    graph: onnx.ModelProto
    states: tuple[StateTensor, ...]
    generates: bool  # whether it has logits
    manifest: Manifest
    memoryless: bool = False  # whether no node reads the state

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

    BadModel names the file, all its faults, and what the contract requires.
    """
    try:
        raw = read_file(path)
        digest = hashlib.sha256(raw)
        model = _parse(raw)
        for data in embed_external_data(model, path.parent):
            digest.update(data)
        model = inlined(model)
        drop_constant_inputs(model)
    except ValueError as error:
        raise BadModel(path, [str(error)]) from error
    faults = _validity_faults(model)
    manifest = _read_manifest(model, faults)
    interface = Interface(model.graph, manifest)
    faults.extend(interface.faults())
    if not faults:
        model = _converted(model, faults)
    if faults or manifest is None:
        raise BadModel(path, faults, interface.mend)
    return Cell(
        path,
        digest.hexdigest(),
        model,
        interface.states,
        interface.generates,
        manifest,
        interface.memoryless,
    )


def _parse(raw: bytes) -> onnx.ModelProto:
    """Return the model in a file's bytes; ValueError if they are none."""
    try:
        model = onnx.load_model_from_string(raw)
    # ValueError: from a name in the message that is not UTF-8
    except (DecodeError, ValueError) as error:
        raise ValueError(_invalid(error)) from error
    if not model.HasField("graph"):
        raise ValueError(f"not a complete, valid ONNX model ({'empty' if not raw else 'no graph'})")
    return model


def _validity_faults(model: onnx.ModelProto) -> list[str]:
    """Return the first thing that ONNX's checker finds, if any; it stops there."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,  # from an unknown element type, or a message of 2 GiB
    ) as error:
        return [_invalid(error)]
    return []


def _invalid(error: Exception) -> str:
    return f"not a complete, valid ONNX model ({first_line(error)})"


def _read_manifest(model: onnx.ModelProto, faults: list[str]) -> Manifest | None:
    """Return the manifest in the model's metadata, or add a fault: it is missing, or invalid."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                return parse_manifest(entry.value)
            except (ValueError, RecursionError) as error:
                faults.append(f"metadata {METADATA_KEY!r}: {error}")
                return None
    again = "; or write the file again with cellwire export"
    faults.append(
        f"no {METADATA_KEY!r} in its metadata; add the vocabulary as docs/model-file.md shows: "
        f"onnx.helper.set_model_props(model, {{{METADATA_KEY!r}: json.dumps(manifest)}})"
        f"{again if model.producer_name == _EXPORTER else ''}"
    )
    return None


def _converted(model: onnx.ModelProto, faults: list[str]) -> onnx.ModelProto:
    try:
        return converted(model)
    except ValueError as error:
        faults.append(str(error))
        return model
