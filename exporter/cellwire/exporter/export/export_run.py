"""From a training run to one `.onnx` file: fold, build, prove, describe, write."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx

from cellwire.exporter.errors import ParityError, RunError, WeightsError
from cellwire.exporter.export.fold import FoldedNetwork, fold
from cellwire.exporter.export.graph import Weights, cell_graph
from cellwire.exporter.export.manifest import METADATA_KEY, Manifest
from cellwire.exporter.export.parity import Parity, Rounding, measure_parity, measure_rounding
from cellwire.exporter.network.kinds import cell_kind
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.files import write_whole
from cellwire.exporter.runs.run_folder import Checkpoint, Run

_BEST = "best"


@dataclass(frozen=True, slots=True)
class Exported:
    """A model file that was written."""

    path: Path
    size_bytes: int
    manifest: Manifest


def export_run(
    run: Run, path: Path, *, weights: Weights = "float32", checkpoint: str = _BEST
) -> Exported:
    """Write a run's model to `path` as a single-step cell.

    `checkpoint` is "best", "last" or "step-N" of one that was kept. What is proven is the cell
    before its weights are rounded; what rounding costs is measured. Raises RunError when the run
    has no such checkpoint, WeightsError when weights cannot be rounded as asked, ParityError when
    the cell does not compute what the model does in torch, FileError when `path` cannot be written;
    then `path` is as it was.
    """
    model, trained = _model(run, checkpoint)
    network = fold(model)
    if weights == "int8" and not cell_kind(network.kind).bounded:
        raise WeightsError(
            f"weights of {run.path} cannot be int8: the states of its {network.kind} cell have no "
            "bounds, so that they cannot be rounded; use --weights float16"
        )
    cell = cell_graph(network)
    parity = _proven(cell, model, path)
    rounding = Rounding(0.0, 0.0)
    if weights != "float32":
        cell, rounding = _rounded(network, model, weights)
    manifest = Manifest.of(run.config, trained, parity, weights, rounding)
    entry = cell.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, manifest.json()
    onnx.checker.check_model(cell, full_check=True)
    data = cell.SerializeToString()
    write_whole(path, data)
    return Exported(path, len(data), manifest)


def _model(run: Run, checkpoint: str) -> tuple[Network, Checkpoint]:
    """Return the network of a checkpoint; RunError names those there are."""
    there = {path.stem for path in run.path.glob("*.pt")}
    if checkpoint not in there and checkpoint != _BEST:
        named = ", ".join(sorted(there, key=lambda name: (len(name), name))) or "none yet"
        raise RunError(f"{run.path} has no checkpoint {checkpoint!r}; it has: {named}")
    return run.model(f"{checkpoint}.pt")


def _proven(cell: onnx.ModelProto, model: Network, path: Path) -> Parity:
    """Return how far the cell is from the model; ParityError if that is too far."""
    parity = measure_parity(cell, model)
    if not parity.holds:
        raise ParityError(
            f"the exported cell and the trained model are {parity.error:.1e} apart, so {path} was "
            "not written; the checkpoint is broken, or the exporter is at fault"
        )
    return parity


def _rounded(
    network: FoldedNetwork, model: Network, weights: Weights
) -> tuple[onnx.ModelProto, Rounding]:
    """Return the cell of rounded weights, and what that costs."""
    cell = cell_graph(network, weights)
    rounding = measure_rounding(cell, model)
    if not math.isfinite(rounding.loss_bits):
        raise WeightsError(
            f"weights cannot be {weights}: some are beyond its range; use --weights float32"
        )
    return cell, rounding
