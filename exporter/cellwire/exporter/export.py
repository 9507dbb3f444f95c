"""From a training run to one `.onnx` file: fold, build, prove, describe, write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from cellwire.exporter.errors import ParityError
from cellwire.exporter.files import write_whole
from cellwire.exporter.fold import FoldedLstm
from cellwire.exporter.graph import lstm_cell
from cellwire.exporter.manifest import METADATA_KEY, Manifest
from cellwire.exporter.parity import measure_loss, measure_parity
from cellwire.exporter.run import Run


@dataclass(frozen=True, slots=True)
class Exported:
    """A model file that was written."""

    path: Path
    size_bytes: int
    manifest: Manifest


def export_run(run: Run, path: Path, *, int8: bool = False) -> Exported:
    """Write the run's best model to `path` as a single-step cell.

    With `int8`, what is proven is the cell before its weights are rounded; what rounding costs is
    measured. Raises RunError when the run has no checkpoint yet, ParityError when the cell does not
    compute what the model does in torch, FileError when `path` cannot be written; then `path` is as
    it was.
    """
    model, checkpoint = run.best_model()
    weights = FoldedLstm.of(model)
    cell = lstm_cell(weights)
    parity = measure_parity(cell, model)
    if not parity.holds:
        raise ParityError(
            f"the exported cell and the trained model are {parity.error:.1e} apart, so {path} was "
            "not written; the checkpoint is broken, or the exporter is at fault"
        )
    loss = 0.0
    if int8:
        cell = lstm_cell(weights, int8=True)
        loss = measure_loss(cell, model)
    manifest = Manifest.of(
        run.config, checkpoint, parity.error, "int8" if int8 else "float32", loss
    )
    entry = cell.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, manifest.json()
    onnx.checker.check_model(cell, full_check=True)
    data = cell.SerializeToString()
    write_whole(path, data)
    return Exported(path, len(data), manifest)
