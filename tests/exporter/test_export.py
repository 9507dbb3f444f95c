from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cellwire.exporter.cells import CharacterLstm
from cellwire.exporter.errors import FileError, ParityError, RunError
from cellwire.exporter.export import export_run
from cellwire.exporter.fold import FoldedLstm
from cellwire.exporter.graph import lstm_cell
from cellwire.exporter.parity import Parity, measure_loss, measure_parity
from cellwire.exporter.run import Run, RunConfig


def test_the_manifest_says_what_the_model_is_and_where_it_comes_from(
    trained: Run, tmp_path: Path
) -> None:
    written = export_run(trained, tmp_path / "fox.onnx")
    cell = onnx.load(written.path)
    metadata = {entry.key: entry.value for entry in cell.metadata_props}
    manifest = json.loads(metadata["cellwire.manifest"])
    checkpoint = trained.load("best.pt")
    parity_error = manifest["training"].pop("parity_error")
    assert 0 < parity_error <= 1e-5
    assert manifest == {
        "version": 1,
        "vocabulary": {"kind": "characters", "symbols": list(trained.config.symbols)},
        "cell": {"kind": "lstm", "layers": 2, "hidden": 32, "weights": "float32"},
        "training": {
            "corpus": "fox.txt",
            "corpus_sha256": "0" * 64,
            "steps": checkpoint.step,
            "validation_bits_per_character": checkpoint.validation_bpc,
            "rounding_bits_per_character": 0.0,
            "recipe": {
                "layers": 2,
                "hidden": 32,
                "embedding": 8,
                "dropout": 0.1,
                "lanes": 4,
                "window": 16,
                "epochs": 5,
                "learning_rate": 0.02,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
                "validation_share": 0.1,
                "validate_every": 50,
                "start_from": None,
                "last_chars": None,
                "seed": 1,
            },
        },
    }
    assert written.size_bytes == written.path.stat().st_size


def test_rounding_makes_a_model_smaller_and_a_little_worse(trained: Run, tmp_path: Path) -> None:
    whole = export_run(trained, tmp_path / "whole.onnx")
    rounded = export_run(trained, tmp_path / "rounded.onnx", int8=True)
    assert rounded.manifest.cell.weights == "int8"
    assert rounded.size_bytes < whole.size_bytes
    assert 0 < rounded.manifest.training.rounding_bits_per_character < 0.05
    model, _ = trained.best_model()
    assert abs(measure_loss(onnx.load(whole.path), model)) < 1e-9  # nothing was rounded


def test_a_cell_that_differs_from_the_model_is_noticed(
    model: Callable[[int], CharacterLstm],
) -> None:
    lstm = model(2)
    cell = lstm_cell(FoldedLstm.of(lstm))
    assert measure_parity(cell, lstm).holds
    for tensor in cell.graph.initializer:
        if tensor.name == "layer1.input.bias":
            spoiled = numpy_helper.to_array(tensor) + np.float32(1e-4)
            tensor.CopyFrom(numpy_helper.from_array(spoiled, tensor.name))
    assert not measure_parity(cell, lstm).holds


@pytest.mark.parametrize(
    ("error", "rounding", "holds"),
    [
        (9e-6, 1e-7, True),
        (2e-5, 1e-7, False),
        (2e-5, 1e-5, True),
        (float("nan"), 1e-7, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_a_model_is_held_to_the_limit_or_to_its_own_rounding(
    error: float,
    rounding: float,
    holds: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    assert Parity(error, rounding).holds is holds


def test_a_cell_that_differs_is_not_written(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fox.onnx"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(
        "cellwire.exporter.export.measure_parity", lambda _cell, _model: Parity(2e-5, 1e-7)
    )
    with pytest.raises(ParityError, match=r"2\.0e-05 apart"):
        export_run(trained, path)
    assert path.read_bytes() == b"what was there"


def test_a_path_that_cannot_be_written_is_named_and_nothing_is_left(
    trained: Run, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=r"none/fox\.onnx cannot be written: No such file"):
        export_run(trained, tmp_path / "none" / "fox.onnx")
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    with pytest.raises(FileError, match="directory"):
        export_run(trained, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "folder.onnx"}


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path: Path, config: RunConfig) -> None:
    run = Run.create(tmp_path / "run", config)
    with pytest.raises(RunError, match="has not reached its first validation"):
        export_run(run, tmp_path / "fox.onnx")
    (run.path / "best.pt").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        export_run(run, tmp_path / "fox.onnx")
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)
