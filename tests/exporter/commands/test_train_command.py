"""`cellwire train`: its output and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from tests.exporter.command_line import refusal
from tests.exporter.trainings import LABELLED, SMALL, TEXT, reviews, trained_run
from typer.testing import CliRunner, Result

from cellwire.exporter.commands.train import train
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_folder import RunFolder

_APP = typer.Typer()
_APP.command()(train)

RECIPES = Path(__file__).parents[3] / "exporter" / "recipes"


def cellwire_train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(_APP, [str(argument) for argument in arguments])


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a [text] of mine.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_it_prints_the_plan_the_progress_and_the_next_command(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = cellwire_train(text, "--out", out, *sets(*SMALL, "run.sample_every=2"))
    assert result.exit_code == 0, result.output
    output = result.stderr
    assert "a [text] of mine.txt: 28 symbols, 1,620 characters to train on, 180 held out" in output
    assert "1 x 24 lstm, 4,188 parameters for 1,620 characters: 75 steps of 4 x 16" in output
    assert "step     60 of 75  train " in output
    assert "bits per character; validation " in output
    assert "sample:\n    the quick brown " in output
    assert "bits per character: . training, * validation" in output
    assert "fitting" in output
    assert "best validation: " in output
    assert output.endswith(f"at step 75. Next: cellwire export {out} MODEL.onnx\n")
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_classifier_is_measured_by_its_accuracy(tmp_path: Path) -> None:
    path = reviews(tmp_path / "reviews.csv")
    settings = sets(*SMALL, *LABELLED, "run.steps=2")
    result = cellwire_train(path, "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    assert "54 texts (" in result.stderr
    assert "6 held out; labels: 0, 1" in result.stderr
    assert "steps of 4 texts (3 epochs)" in result.stderr
    assert "accuracy " in result.stderr


def test_a_short_chinese_text_gets_fitting_settings(tmp_path: Path) -> None:
    path = tmp_path / "songci.txt"
    path.write_text("醉裏挑燈看劍夢回吹角連營。\n" * 20, encoding="utf-8")
    options = ("--hidden", "8", "--epochs", "2", "--layers", "1")
    result = cellwire_train(path, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    config = RunFolder.open(tmp_path / "run").config
    batches, run = config.recipe.batches, config.recipe.run
    assert (batches.lanes, batches.window, run.epochs) == (8, 16, 2)
    assert "醉" in config.symbols


def test_options_are_short_for_settings(text: Path, tmp_path: Path) -> None:
    options = ["--smoke", "--layers", "1", "--hidden", "9", "--dropout", "0.1", "--seed", "5"]
    recipe = RECIPES / "austen-2.toml"
    options += ["--learning-rate", "0.01", *sets("batches.window=8", "batches.lanes=2")]
    result = cellwire_train(text, "--recipe", recipe, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    recorded = RunFolder.open(tmp_path / "run").config.recipe
    assert (recorded.network.hidden, recorded.network.layers, recorded.network.dropout) == (
        9,
        1,
        0.1,
    )
    assert (recorded.optimizer.learning_rate, recorded.optimizer.weight_decay) == (0.01, 0.05)
    assert (recorded.run.seed, recorded.run.steps, recorded.batches.window) == (5, 3, 8)


@pytest.mark.parametrize(
    ("content", "settings", "complaint"),
    [
        (b"", [], "the file is empty"),
        (b"\xff", [], "not UTF-8"),
        (b"aaaaaaa", [], "at least two different symbols"),
        (b"aAaaAaA", ["data.lower_case=true"], "only 'a' in it"),
        (b"abcdefg", [], "7 symbols are too few"),
        (b"ab" * 50, ["batches.window=128"], "fewer than one window of 128"),
        (b"ab" * 50, ["data.kind=labelled"], "no column for text and label"),
        (b"ab" * 50, ['run.sample_prompts=["z"]'], "'z': unknown symbol 'z' at offset 0"),
        (b"ab" * 50, ['run.sample_prompts=[""]'], "no symbol to begin with"),
        (b"ab" * 50, ["network.hidden=none"], "network.hidden: Expected `int`"),
    ],
)
def test_an_invalid_text_or_setting_leaves_no_folder(
    tmp_path: Path, content: bytes, settings: list[str], complaint: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    line = refusal(cellwire_train(path, "--out", tmp_path / "run", *sets(*settings)))
    assert complaint in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"the 1 2\nfilm 1\n", "vectors.txt, line 2: 1 numbers, and 2 in line 1"),
        (b"zebra 1 2\n", "none of the text's words"),
    ],
)
def test_invalid_vectors_leave_no_folder(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = reviews(tmp_path / "reviews.csv")
    (tmp_path / "vectors.txt").write_bytes(content)
    vectors = sets(*LABELLED, "network.input=vectors", f"network.vectors={tmp_path}/vectors.txt")
    line = refusal(cellwire_train(path, "--out", tmp_path / "run", *vectors))
    assert complaint in line
    assert not (tmp_path / "run").exists()


def test_it_prints_the_number_of_words_with_vectors(tmp_path: Path) -> None:
    path = reviews(tmp_path / "reviews.csv")
    (tmp_path / "vectors.txt").write_text("film 1 2 3\ngood 4 5 6\nzebra 7 8 9\n")
    settings = (*SMALL, *LABELLED, "network.input=vectors", "run.steps=1", "run.validate_every=1")
    vectors = sets(*settings, f"network.vectors={tmp_path}/vectors.txt", "data.vocabulary=9")
    result = cellwire_train(path, "--out", tmp_path / "run", *vectors)
    assert "word vectors, which 2 of 10 words have" in result.stderr
    assert RunFolder.open(tmp_path / "run").config.shape.embedding == 3


def test_a_missing_text(tmp_path: Path) -> None:
    line = refusal(cellwire_train(tmp_path / "none.txt", "--out", tmp_path / "run"))
    assert line.endswith("none.txt: No such file or directory")


def test_a_folder_that_holds_a_run_is_not_overwritten(text: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", "run.steps=1")
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    assert "already holds a run" in refusal(cellwire_train(text, "--out", run.path))
    assert before == {path.name: path.read_bytes() for path in run.path.iterdir()}


def test_resuming_takes_a_run_and_its_text_only(text: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", "run.steps=1")
    line = refusal(cellwire_train(text, "--out", run.path, "--resume"))
    assert "is not the text this run was started with (fox.txt" in line
    line = refusal(cellwire_train(text, "--out", tmp_path / "none", "--resume"))
    assert "is not a run folder" in line
    line = refusal(cellwire_train(text, "--out", run.path, "--resume", "--hidden", "9"))
    assert "leave out" in line


def test_an_out_that_cannot_be_a_folder(text: Path) -> None:
    line = refusal(cellwire_train(text, "--out", text, *sets(*SMALL)))
    assert "cannot be made a run folder" in line


def test_a_missing_device_is_named(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refusal(cellwire_train(text, "--out", tmp_path / "run", "--device", "cuda"))
    assert "torch finds no GPU" in line
    line = refusal(cellwire_train(text, "--out", tmp_path / "run", "--precision", "mixed"))
    assert "mixed precision needs a GPU" in line


def test_a_full_disk_ends_the_training_in_one_line(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".pt" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL))
    assert result.exit_code == 2
    assert result.stderr.endswith("best.pt cannot be written: No space left on device\n")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "metrics.jsonl"}


def test_ctrl_c_prints_the_command_that_resumes(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_display: object, progress: Progress) -> None:
        if progress.step == 30:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cellwire.exporter.report.display.TrainingDisplay.show_progress", interrupt)
        patch.setattr("cellwire.exporter.training.training.REPORT_EVERY_S", 0)
        stopped = cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL))
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith(f"cellwire train '{text}' --out {tmp_path / 'run'} --resume\n")
    again = cellwire_train(text, "--out", tmp_path / "run", "--resume")
    assert again.exit_code == 0, again.output
    assert "resuming after step 20 of 75" in again.stderr


def test_help_is_enough_to_get_started() -> None:
    shown = cellwire_train("--help").stdout
    for word in ("--recipe", "--set", "--smoke", "--resume", "--device", "cellwire export"):
        assert word in shown
