"""`cellwire train`: its output and its errors."""

from __future__ import annotations

import os
import re
import signal
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.exporter.command_line import cellwire, refusal
from tests.exporter.trainings import (
    LABELLED,
    SMALL,
    TEXT,
    assert_same_weights,
    reviews,
    trained_run,
)
from typer.testing import CliRunner, Result

from cellwire.exporter.commands.train import train
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.errors import FileError
from cellwire.exporter.recipe.recipe import Recipe, to_tables
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.training import Training

_APP = typer.Typer()
_APP.command()(train)

RECIPES = Path(__file__).parents[3] / "exporter" / "recipes"


def cellwire_train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(_APP, [str(argument) for argument in arguments])


def refusal_after_plan(result: Result) -> str:
    """Return the one line of a command that was refused after it had printed its plan."""
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("cellwire: ")
    return line


def export_refusal(run: Path, model: Path) -> str:
    return refusal(cellwire("export", run, model))


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
    assert re.search(
        r"^step 60 of 75  training \d\.\d{3}, held out \d\.\d{3} bits per character \*$",
        output,
        re.MULTILINE,
    )
    assert "sample:\n    the quick brown " in output
    assert "bits per character: . training, * validation" in output
    assert "Still learning: " in output
    assert re.search(r"^best validation: .* nats, perplexity .*, at step 75$", output, re.MULTILINE)
    assert re.search(r"^speed: [\d,]+ characters per second$", output, re.MULTILINE)
    assert output.endswith(f"Next: cellwire export {out} MODEL.onnx\n")
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_classifier_is_measured_by_its_accuracy(tmp_path: Path) -> None:
    path = reviews(tmp_path / "reviews.csv")
    settings = sets(*SMALL, *LABELLED, "run.steps=2")
    result = cellwire_train(path, "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    assert "54 texts (" in result.stderr
    assert "6 held out; labels: 0, 1" in result.stderr
    assert "steps of 4 texts (3 epochs)" in result.stderr
    assert "% right" in result.stderr
    assert "best validation: accuracy " in result.stderr


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


def test_an_out_that_cannot_be_a_folder(text: Path, tmp_path: Path) -> None:
    line = refusal(cellwire_train(text, "--out", text, *sets(*SMALL)))
    assert line.endswith("it is a file; name a new folder with --out")
    for out in (text / "run", tmp_path / ("x" * 300), Path("/proc/none/run")):
        line = refusal(cellwire_train(text, "--out", out, *sets(*SMALL)))
        assert "cannot be made a run folder: " in line


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "best.pt"])
def test_files_of_others_are_not_overwritten(text: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{}")
    line = refusal(cellwire_train(text, "--out", tmp_path / "mine", *sets(*SMALL)))
    assert f"mine already holds {name}, which a run would overwrite; name another --out" in line
    assert (tmp_path / "mine" / name).read_text() == "{}"


def test_a_folder_with_other_files_can_hold_a_run(text: Path, tmp_path: Path) -> None:
    result = cellwire_train(text, "--out", tmp_path, *sets(*SMALL, "run.steps=1"))
    assert result.exit_code == 0, result.output
    assert text.read_text() == TEXT


def test_a_folder_that_cannot_be_written(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, _data: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", denied)
    line = refusal_after_plan(cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL)))
    assert line.endswith("config.json cannot be written: Permission denied")


def test_a_disk_that_fills_up_at_the_end_leaves_the_verdict(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_checkpoints: object, _unit: str, path: Path) -> None:
        raise FileError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("cellwire.exporter.commands.summary.write_png", full)
    result = cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL))
    assert result.exit_code == 2
    assert "Still learning" in result.stderr
    assert "Next: cellwire export" in result.stderr
    assert result.stderr.endswith("curves.png cannot be written: No space left on device\n")


def test_a_network_beyond_the_memory_is_refused_before_it_is_made(
    text: Path, tmp_path: Path
) -> None:
    for size in (("--hidden", "1000000"), ("--layers", "1000000000"), ("--hidden", str(10**12))):
        line = refusal(cellwire_train(text, "--out", tmp_path / "run", *size))
        assert "memory" in line
        assert "train with a lower --hidden" in line
    assert not (tmp_path / "run").exists()


def test_when_memory_ends_in_training_it_is_one_line(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cellwire.exporter.training.training.compute_loss", ended)
    line = refusal_after_plan(cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL)))
    assert "there is not enough memory; train with a lower --hidden" in line


def test_the_notes_of_a_dataset_are_printed(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = partial(replace, notes=("2 rows were left out.",))
    prepare = Dataset.of
    monkeypatch.setattr(Dataset, "of", lambda *given: noted(prepare(*given)))
    result = cellwire_train(text, "--out", tmp_path / "run", *sets(*SMALL, "run.steps=1"))
    assert "\n2 rows were left out.\n" in result.stderr


def test_recipes_are_listed_and_found_by_name(text: Path, tmp_path: Path) -> None:
    listed = cellwire_train("--list-recipes")
    assert listed.exit_code == 0
    assert "\nausten-1               The built-in model, first of three" in listed.stdout
    result = cellwire_train(text, "--recipe", "anna", "--out", tmp_path / "run", "--smoke")
    assert result.exit_code == 0, result.output
    assert RunFolder.open(tmp_path / "run").config.recipe.optimizer.clip_at == 5.0
    line = refusal(cellwire_train(text, "--recipe", "ana", "--out", tmp_path / "other"))
    assert "no recipe 'ana'; there are the recipes: anna, anna-ours, " in line


def test_a_listed_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(force_terminal=True, width=60)
    monkeypatch.setattr("cellwire.exporter.commands.recipe_list.stdout_console", terminal)
    lines = cellwire_train("--list-recipes").stdout.splitlines()
    assert max(map(len, lines)) == 60
    assert lines[0].endswith("...")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_prints_the_command_that_continues(
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
) -> None:
    def stop(_display: object, progress: Progress) -> None:
        if progress.step == 7:
            os.kill(os.getpid(), number)

    out, settings = tmp_path / "run", sets(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("cellwire.exporter.report.display.TrainingDisplay.show_progress", stop)
        patch.setattr("cellwire.exporter.training.training.REPORT_EVERY_S", 0)
        stopped = cellwire_train(text, "--out", out, "--device", "cpu", *settings)
    assert stopped.exit_code == status
    assert stopped.stderr.endswith(
        "stopped after step 7; continue with:\n"
        f"cellwire train '{text}' --out {out} --resume --device cpu\n"
    )
    assert "first validation" in export_refusal(out, tmp_path / "model.onnx")
    again = cellwire_train(text, "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    assert "resuming after step 7 of 75" in again.stderr
    whole = cellwire_train(text, "--out", tmp_path / "whole", *settings)
    assert whole.exit_code == 0
    assert_same_weights(RunFolder.open(out), RunFolder.open(tmp_path / "whole"))


# Any argument: Unicode, bytes that are not UTF-8, numbers beyond all ranges, TOML of any depth.
ARGUMENTS = st.one_of(
    st.text(st.characters(exclude_characters="\0")),
    st.binary(max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b""))),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["[" * 5_000, "9" * 5_000, "{a={a=1}}", "1979-05-27", '"\\u0000"', "x" * 5_000]
    ),
)
KEYS = st.sampled_from(
    [f"{table}.{key}" for table, keys in to_tables(Recipe()).items() for key in keys]
)
OPTIONS = st.one_of(
    st.builds(lambda key, value: ["--set", f"{key}={value}"], KEYS, ARGUMENTS),
    st.builds(
        lambda name, value: [f"--{name}={value}"],
        st.sampled_from(
            ["set", "recipe", "start-from", "layers", "hidden", "dropout", "epochs", "seed"]
        ),
        ARGUMENTS,
    ),
    ARGUMENTS.map(lambda value: [value]),
    ARGUMENTS.map(lambda value: [f"--out=out{value}"]),
    ARGUMENTS.map(lambda value: [f"--out=out{value}"]),
    st.just(["--smoke"]) | st.just(["--resume"]),
)


@given(st.lists(OPTIONS, min_size=1, max_size=4))
def test_no_argument_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, options: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "text.txt").write_text(TEXT)
    arguments = [argument for option in options for argument in option]
    with chdir(folder), mock.patch.object(Training, "run", side_effect=KeyboardInterrupt):
        result = cellwire_train("text.txt", "--out", "run", *arguments)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in {0, 2, 130}
    result.stderr.encode("utf-8")
    if result.stderr.startswith("cellwire: "):
        assert result.stderr.count("\n") == 1


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


def test_help_is_enough_to_get_started() -> None:
    shown = cellwire_train("--help").stdout
    for word in ("--recipe", "--set", "--smoke", "--resume", "--device", "cellwire export"):
        assert word in shown
