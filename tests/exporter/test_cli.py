"""The commands: what they print, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import typer
from cellwire.exporter.cli import export, train
from typer.testing import CliRunner, Result

from cellwire.exporter.run import Progress, Run

from .conftest import TEXT

app = typer.Typer()
app.command()(train)
app.command()(export)

SMALL = ["--hidden", "16", "--embedding", "4", "--epochs", "2", "--lanes", "4", "--window", "16"]


def cellwire(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(result: Result) -> str:
    """Return the one line a refused command prints."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("cellwire: ")
    return line


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "a [text] of mine.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_train_then_export_writes_a_model(corpus: Path, tmp_path: Path) -> None:
    trained = cellwire("train", corpus, "--out", tmp_path / "run", *SMALL)
    assert trained.exit_code == 0, trained.output
    assert "1,710 characters to learn from, 90 held out" in trained.stderr
    assert "52 steps of 4 x 16 characters (2 epochs)" in trained.stderr
    assert f"Next: cellwire export {tmp_path / 'run'} MODEL.onnx" in trained.stderr

    model = tmp_path / "fox.onnx"
    exported = cellwire("export", tmp_path / "run", model)
    assert exported.exit_code == 0, exported.output
    assert exported.stderr.endswith(f"Next: cellwire serve --model {model}\n")
    assert "MB" in exported.stderr
    assert "bits per character" in exported.stderr
    onnx.checker.check_model(onnx.load(model))


def test_a_short_chinese_text_trains_with_what_is_chosen_for_it(tmp_path: Path) -> None:
    path = tmp_path / "songci.txt"
    path.write_text("醉裏挑燈看劍夢回吹角連營。\n" * 20, encoding="utf-8")
    result = cellwire(
        "train", path, "--out", tmp_path / "run", "--hidden", "8", "--epochs", "2", "--layers", "1"
    )
    assert result.exit_code == 0, result.output
    config = Run.open(tmp_path / "run").config
    assert (config.lanes, config.window, config.epochs) == (8, 16, 2)
    assert "醉" in config.symbols


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        (b"", [], "the file is empty"),
        (b"\xff\xfe", [], "not UTF-8"),
        (b"aaaaaaa", [], "at least two different symbols"),
        (b"abcdefg", [], "7 characters are too few"),
        (b"ab" * 50, ["--window", "128"], "fewer than one window of 128"),
    ],
)
def test_a_text_that_cannot_be_trained_on(
    tmp_path: Path, text: bytes, options: list[str], complaint: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text)
    assert complaint in refusal(cellwire("train", path, "--out", tmp_path / "run", *options))
    assert not (tmp_path / "run").exists()


def test_a_missing_text(tmp_path: Path) -> None:
    line = refusal(cellwire("train", tmp_path / "none.txt", "--out", tmp_path / "run"))
    assert line.endswith("none.txt: No such file or directory")


@pytest.mark.parametrize(
    "option",
    ["--learning-rate", "--dropout", "--weight-decay", "--clip-norm", "--validation-share"],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_numbers_must_be_numbers(corpus: Path, tmp_path: Path, option: str, value: str) -> None:
    result = cellwire("train", corpus, "--out", tmp_path / "run", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(trained: Run, corpus: Path) -> None:
    before = (trained.path / "config.json").read_bytes()
    assert "already holds a run" in refusal(cellwire("train", corpus, "--out", trained.path))
    assert (trained.path / "config.json").read_bytes() == before


def test_resuming_needs_a_run_and_its_own_text(trained: Run, corpus: Path, tmp_path: Path) -> None:
    line = refusal(cellwire("train", corpus, "--out", trained.path, "--resume"))
    assert "is not the text this run was started with (fox.txt" in line
    line = refusal(cellwire("train", corpus, "--out", tmp_path / "none", "--resume"))
    assert "is not a run folder" in line


def test_an_out_that_cannot_be_a_folder(corpus: Path) -> None:
    assert "cannot be made a run folder" in refusal(cellwire("train", corpus, "--out", corpus))


def test_a_full_disk_ends_the_training_in_one_line(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".pt" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = cellwire("train", corpus, "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 2
    assert result.stderr.endswith("best.pt cannot be written: No space left on device\n")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json"}


def test_ctrl_c_says_how_to_go_on_and_resume_does(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_display: object, progress: Progress) -> None:
        if progress.step == 30:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cellwire.exporter.display.TrainingDisplay.show", interrupt)
        stopped = cellwire(
            "train", corpus, "--out", tmp_path / "run", *SMALL, "--validate-every", "20"
        )
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith(f"cellwire train '{corpus}' --out {tmp_path / 'run'} --resume\n")
    again = cellwire("train", corpus, "--out", tmp_path / "run", "--resume")
    assert again.exit_code == 0, again.output
    assert "going on after step 20 of 52" in again.stderr


def test_export_refuses_what_is_no_finished_run(
    tmp_path: Path, trained: Run, training: Callable[[Path], object]
) -> None:
    model = tmp_path / "fox.onnx"
    assert "is not a run folder" in refusal(cellwire("export", tmp_path / "none", model))
    training(tmp_path / "young")
    assert "first validation" in refusal(cellwire("export", tmp_path / "young", model))
    config = trained.path / "config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**fields, "hidden": 33}), encoding="utf-8")
    assert "does not fit" in refusal(cellwire("export", trained.path, model))
    config.write_text("{", encoding="utf-8")
    assert "cannot be read" in refusal(cellwire("export", trained.path, model))
    assert not model.exists()


def test_a_missing_extra_is_named(
    tmp_path: Path, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_path: Path) -> Run:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(Run, "open", missing)
    line = refusal(cellwire("export", trained.path, tmp_path / "fox.onnx"))
    assert line == "cellwire: torch is missing; pip install 'cellwire[train]'"
