from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.exporter.networks import random_tokens
from tests.exporter.saved_runs import (
    CHARACTERS,
    WORDS,
    labels_config,
    random_network,
    save,
    saved_run,
    text_config,
)
from tests.foreign.cell_runs import run_cell

from cellwire.exporter.errors import FileError, ParityError, RunError, WeightsError
from cellwire.exporter.export.export_run import ExportedModel, export_run
from cellwire.exporter.export.graph import Weights
from cellwire.exporter.export.parity import Parity
from cellwire.exporter.network.kinds import KINDS, Kind
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.model_file.manifest import TrainingFacts, parse_manifest


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return saved_run(tmp_path / "run", text_config(layers=2))


def training_of(written: ExportedModel) -> TrainingFacts:
    assert written.manifest.training
    return written.manifest.training


def manifest_of(path: Path) -> Any:  # noqa: ANN401  # what JSON holds
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return json.loads(metadata["cellwire.manifest"])


def test_the_manifest_describes_the_model_and_its_training(run: RunFolder, tmp_path: Path) -> None:
    written = export_run(run, tmp_path / "text.onnx")
    manifest = manifest_of(written.path)
    assert parse_manifest(json.dumps(manifest)).to_json() == written.manifest.to_json()
    assert 0 < manifest["training"].pop("parity_error") <= 1e-5
    assert manifest["version"] == 1
    assert manifest["vocabulary"]["symbols"] == list(CHARACTERS)
    assert manifest["cell"] == {"kind": "lstm", "layers": 2, "hidden": 19, "weights": "float32"}
    assert manifest["labels"] == []
    assert manifest["training"] == {
        "corpus": "text.txt",
        "corpus_sha256": "0" * 64,
        "steps": 100,
        "validation_bits_per_character": pytest.approx(1 / math.log(2)),
        "validation_perplexity": pytest.approx(math.e),
        "rounding_error": 0,
        "rounding_bits": 0,
        "recipe": json.loads(json.dumps(run.config.tables)),
    }
    assert written.size_bytes == written.path.stat().st_size


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_cell_is_compared_and_written(kind: Kind, tmp_path: Path) -> None:
    for config in (text_config(kind, 2, one_hot=True), labels_config(kind)):
        run = saved_run(tmp_path / config.corpus, config)
        manifest = manifest_of(export_run(run, tmp_path / "model.onnx").path)
        assert manifest["cell"]["kind"] == kind
        assert 0 < manifest["training"]["parity_error"] <= 1e-5


def test_the_manifest_of_a_classifier_has_words_and_labels(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", labels_config())
    manifest = manifest_of(export_run(run, tmp_path / "reviews.onnx").path)
    assert manifest["labels"] == ["negative", "positive"]
    assert manifest["vocabulary"]["kind"] == "words"
    assert manifest["vocabulary"]["symbols"] == list(WORDS)
    assert manifest["training"]["validation_accuracy"] == 0.75


@pytest.mark.parametrize("config", [text_config("gru", 2), labels_config("lstm", 2)])
def test_rounding_makes_a_model_smaller_and_a_little_worse(
    config: RunConfig, tmp_path: Path
) -> None:
    run = saved_run(tmp_path / "run", config)
    limits: dict[Weights, float] = {"float32": 0.0, "float16": 1e-4, "int8": 0.05}
    sizes: dict[Weights, int] = {}
    for weights, limit in limits.items():
        written = export_run(run, tmp_path / "model.onnx", weights=weights)
        facts = training_of(written)
        assert written.manifest.cell.weights == weights
        assert 0 <= facts.rounding_bits <= limit
        assert (facts.rounding_error > 1e-5) is (weights != "float32")
        sizes[weights] = sum(
            len(tensor.raw_data) for tensor in onnx.load(written.path).graph.initializer
        )
    assert sizes["float32"] > 1.5 * sizes["float16"]
    assert sizes["float32"] > 1.5 * sizes["int8"]


@pytest.mark.parametrize("kind", ["rnn_relu", "mingru"])
def test_unbounded_states_are_not_rounded_to_int8(kind: Kind, tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", text_config(kind))
    with pytest.raises(WeightsError, match=rf"its {kind} cell have no bounds.*--weights float16"):
        export_run(run, tmp_path / "model.onnx", weights="int8")
    assert not (tmp_path / "model.onnx").exists()


def test_weights_beyond_the_range_of_float16_are_refused(tmp_path: Path) -> None:
    network = random_network(text_config())
    with torch.no_grad():
        network.head.weight[3] = 1e5
    run = saved_run(tmp_path / "run", text_config(), network)
    with pytest.raises(WeightsError, match="cannot be float16: some are beyond its range"):
        export_run(run, tmp_path / "model.onnx", weights="float16")


def test_a_checkpoint_that_was_kept_can_be_chosen(run: RunFolder, tmp_path: Path) -> None:
    other = random_network(run.config, seed=1)
    save(run, other, step=200, keep=True)
    save(run, random_network(run.config, seed=2), step=1000)
    written = export_run(run, tmp_path / "text.onnx", checkpoint="step-200")
    assert training_of(written).steps == 200
    tokens = random_tokens(steps=1, batch=4)
    found = run_cell(written.path, tokens)["logits"]
    with torch.no_grad():
        expected, _ = other(torch.from_numpy(tokens.T.copy()))
    np.testing.assert_allclose(found[0], expected[:, 0], rtol=0, atol=1e-5)
    written = export_run(run, tmp_path / "text.onnx", checkpoint="last")
    assert training_of(written).steps == 1000
    with pytest.raises(RunError, match=r"no checkpoint 'step-3'; it has: best, last, step-200$"):
        export_run(run, tmp_path / "text.onnx", checkpoint="step-3")


def test_a_cell_that_differs_is_not_written(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(
        "cellwire.exporter.export.export_run.measure_parity",
        lambda _cell, _model: Parity(2e-5, 1e-7),
    )
    with pytest.raises(ParityError, match=r"2\.0e-05 apart"):
        export_run(run, path)
    assert path.read_bytes() == b"what was there"


def test_a_path_that_cannot_be_written_is_named_and_nothing_is_left(
    run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=r"none/text\.onnx cannot be written: No such file"):
        export_run(run, tmp_path / "none" / "text.onnx")
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    with pytest.raises(FileError, match="directory"):
        export_run(run, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "folder.onnx"}


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", text_config())
    with pytest.raises(RunError, match="has not reached its first validation"):
        export_run(run, tmp_path / "text.onnx")
    with pytest.raises(RunError, match=r"no checkpoint 'last'; it has: none yet"):
        export_run(run, tmp_path / "text.onnx", checkpoint="last")
    (run.path / "best.pt").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        export_run(run, tmp_path / "text.onnx")
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path)
