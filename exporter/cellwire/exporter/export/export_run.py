"""The export of a run as one `.onnx` file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx

from cellwire.exporter.errors import ParityError, RunError, WeightsError
from cellwire.exporter.export.fold import FoldedNetwork, fold
from cellwire.exporter.export.graph import Weights, cell_graph
from cellwire.exporter.export.manifest import make_manifest
from cellwire.exporter.export.parity import (
    Parity,
    Rounding,
    measure_parity,
    measure_rounding,
)
from cellwire.exporter.network.kinds import cell_kind
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.checkpoint import Checkpoint
from cellwire.exporter.runs.files import write_atomically
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.model_file.manifest import METADATA_KEY, Manifest

_BEST = "best"


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A model file that was written."""

    path: Path
    size_bytes: int
    manifest: Manifest


def export_run(
    run: RunFolder, path: Path, *, weights: Weights = "float32", checkpoint: str = _BEST
) -> ExportedModel:
    """Write a run's model to `path` as a cell that computes single steps.

    `checkpoint` is "best", "last" or the "step-N" of one that was kept. The cell is compared with
    the model before its weights are rounded; then the cost of rounding is measured. RunError if the
    run has no such checkpoint, WeightsError if the weights cannot be rounded, ParityError if the
    cell differs from the model in torch, FileError if `path` cannot be written; then `path` is
    unchanged.
    """
    model, trained = _load(run, checkpoint)
    network = fold(model)
    _check_weights(run, network, weights)
    cell = cell_graph(network)
    parity = _check_parity(cell, model, path)
    rounding = Rounding(0.0, 0.0)
    if weights != "float32":
        cell, rounding = _round(network, model, weights)
    manifest = make_manifest(run.config, trained, parity, weights, rounding)
    entry = cell.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, manifest.to_json()
    onnx.checker.check_model(cell, full_check=True)
    data = cell.SerializeToString()
    write_atomically(path, data)
    return ExportedModel(path, len(data), manifest)


def _load(run: RunFolder, checkpoint: str) -> tuple[Network, Checkpoint]:
    """Return the network of a checkpoint; RunError lists the run's checkpoints."""
    names = run.checkpoint_names
    if checkpoint not in names and checkpoint != _BEST:
        listed = ", ".join(names) or "none yet"
        raise RunError(f"{run.path} has no checkpoint {checkpoint!r}; it has: {listed}")
    return run.load_network(f"{checkpoint}.pt")


def _check_weights(run: RunFolder, network: FoldedNetwork, weights: Weights) -> None:
    """Raise WeightsError if the kind of cell cannot have such weights."""
    if weights == "int8" and not cell_kind(network.kind).bounded:
        raise WeightsError(
            f"weights of {run.path} cannot be int8: the states of its {network.kind} cell have no "
            "bounds, so that they cannot be rounded; use --weights float16"
        )


def _check_parity(cell: onnx.ModelProto, model: Network, path: Path) -> Parity:
    """Return the difference of the cell from the model; ParityError if it is too large."""
    parity = measure_parity(cell, model)
    if not parity.holds:
        raise ParityError(
            f"the exported cell and the trained model are {parity.error:.1e} apart, so {path} was "
            "not written; the checkpoint is broken, or the exporter has a bug"
        )
    return parity


def _round(
    network: FoldedNetwork, model: Network, weights: Weights
) -> tuple[onnx.ModelProto, Rounding]:
    """Return the cell of rounded weights, and the cost of rounding."""
    cell = cell_graph(network, weights)
    rounding = measure_rounding(cell, model)
    if not math.isfinite(rounding.loss_bits):
        raise WeightsError(
            f"weights cannot be {weights}: some are beyond its range; use --weights float32"
        )
    return cell, rounding
