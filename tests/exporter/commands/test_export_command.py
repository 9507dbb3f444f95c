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


@pytest.mark.parametrize("name", ["model.txt", "model", "text.onnx.bak", ".onnx"])
def test_only_onnx_files_are_written(run: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    line = refusal(cellwire("export", run, path, "--force"))
    assert "a model file ends in .onnx, such as " in line
    assert not path.exists()


def test_a_target_that_cannot_be_a_file_is_refused_first(run: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    assert "it is a folder" in refusal(cellwire("export", run, tmp_path / "folder.onnx"))
    line = refusal(cellwire("export", run, tmp_path / "none" / "text.onnx"))
    assert line.endswith(f"there is no folder {tmp_path / 'none'}")
    line = refusal(cellwire("export", run, tmp_path / ("x" * 300 + ".onnx")))
    assert line.endswith("File name too long")


def test_a_model_of_an_export_is_replaced(run: Path, tmp_path: Path) -> None:
    model = tmp_path / "text.onnx"
    assert cellwire("export", run, model).exit_code == 0
    before = model.stat().st_ino
    assert cellwire("export", run, model, "--weights", "float16").exit_code == 0
    assert model.stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["text.onnx"]


def foreign_model() -> bytes:
    graph = onnx.helper.make_graph([], "g", [], [])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize("content", [b"", b"my thesis, in a file of an odd name", foreign_model()])
def test_another_file_is_replaced_by_force_only(run: Path, tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "text.onnx"
    model.write_bytes(content)
    line = refusal(cellwire("export", run, model))
    assert line.endswith("add --force to replace it, or name another file")
    assert model.read_bytes() == content
    assert cellwire("export", run, model, "--force").exit_code == 0
    onnx.checker.check_model(onnx.load(model), full_check=True)


@pytest.mark.parametrize(("answer", "replaced"), [("y\n", True), ("n\n", False), ("", False)])
def test_at_a_terminal_it_asks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, *, replaced: bool
) -> None:
    model = tmp_path / "text.onnx"
    model.write_bytes(b"mine")
    monkeypatch.setattr("cellwire.exporter.commands.export.is_at_terminal", lambda: True)
    result = cellwire("export", run, model, answer=answer)
    assert "Replace it? [y/N]" in result.stderr
    assert result.exit_code == (0 if replaced else 2), result.output
    assert (model.read_bytes() == b"mine") != replaced
    assert replaced or result.stderr.endswith("is left as it is\n")


def test_a_missing_extra_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_path: Path) -> RunFolder:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(RunFolder, "open", missing)
    line = refusal(cellwire("export", run, tmp_path / "text.onnx"))
    assert line == "cellwire: torch is missing; pip install 'cellwire[train]'"
