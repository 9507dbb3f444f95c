from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from tests.exporter.command_line import cellwire, refusal
from tests.exporter.saved_runs import (
    labels_config,
    random_network,
    save,
    saved_run,
    text_config,
)

from cellwire.exporter.runs.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return saved_run(tmp_path / "run", text_config()).path


def test_it_prints_size_parity_and_quality(run: Path, tmp_path: Path) -> None:
    model = tmp_path / "a [model] of mine.onnx"
    result = cellwire("export", run, model)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        r".*a \[model\] of mine\.onnx: 0\.0 MB, at most \d\.\de-0\d from the model in torch, "
        r"1\.4427 bits per character\nNext: cellwire serve --model '.*mine\.onnx'\n",
        result.stderr,
    )
    onnx.checker.check_model(onnx.load(model), full_check=True)


def test_it_prints_the_cost_of_rounding(run: Path, tmp_path: Path) -> None:
    result = cellwire("export", run, tmp_path / "text.onnx", "--weights", "float16")
    assert re.search(
        r"torch before rounding, 1\.4427 bits per character; rounding to float16: at most "
        r"\d\.\de-0\d from it, \d\.\d{4} bits per character worse\n",
        result.stderr,
    )
    reviews = saved_run(tmp_path / "reviews", labels_config()).path
    result = cellwire("export", reviews, tmp_path / "reviews.onnx", "--weights", "int8")
    assert "accuracy 75.00%; rounding to int8:" in result.stderr
    assert "bits per text worse\n" in result.stderr


def test_a_checkpoint_can_be_chosen(run: Path, tmp_path: Path) -> None:
    opened = RunFolder.open(run)
    save(opened, random_network(opened.config), step=200, keep=True)
    model = tmp_path / "text.onnx"
    assert cellwire("export", run, model, "--checkpoint", "step-200").exit_code == 0
    line = refusal(cellwire("export", run, model, "--checkpoint", "../best"))
    assert line.endswith("has no checkpoint '../best'; it has: best, last, step-200")


def test_errors_are_one_line(run: Path, tmp_path: Path) -> None:
    model = tmp_path / "text.onnx"
    assert "is not a run folder" in refusal(cellwire("export", tmp_path / "none", model))
    young = RunFolder.create(tmp_path / "young", text_config()).path
    assert "first validation" in refusal(cellwire("export", young, model))
    mingru = saved_run(tmp_path / "mingru", text_config("mingru")).path
    line = refusal(cellwire("export", mingru, model, "--weights", "int8"))
    assert line.endswith("use --weights float16")
    wider = (
        (run / "config.json").read_text(encoding="utf-8").replace('"hidden": 19', '"hidden": 20')
    )
    (run / "config.json").write_text(wider, encoding="utf-8")
    assert "does not fit" in refusal(cellwire("export", run, model))
    assert not model.exists()


def test_a_missing_extra_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_path: Path) -> RunFolder:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(RunFolder, "open", missing)
    line = refusal(cellwire("export", run, tmp_path / "text.onnx"))
    assert line == "cellwire: torch is missing; pip install 'cellwire[train]'"
