"""Kind I, the trainer: progress that fits, stops that save, exports that keep files, advice."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("training needs the train extra", allow_module_level=True)

from tests.exporter.command_line import cellwire, refusal
from tests.exporter.saved_runs import saved_run, text_config
from tests.exporter.trainings import assert_same_weights, new_training, resumed_training

from cellwire.exporter.report.progress_line import ProgressLine
from cellwire.exporter.report.trend import Setting, Trend
from cellwire.exporter.report.verdict import Advice, verdict
from cellwire.exporter.runs.run_folder import RunFolder


@pytest.mark.parametrize("columns", [60, 80])
def test_bar_step_and_time_left_fit(columns: int) -> None:
    line = ProgressLine(1_234, 10_200, "character", loss_bits=2.345, left_s=3_725)
    bar_columns, figures = line.fit(columns - 3)
    assert bar_columns >= 4
    assert bar_columns + len(figures) <= columns - 3
    assert "1,234" in figures
    assert "10,200" in figures
    assert "1:02:05" in figures


def test_a_stop_before_the_first_validation_is_saved_and_resumed(tmp_path: Path) -> None:
    late = "run.validate_every=1000"
    stopped = new_training(tmp_path / "a", late)
    stopped.run(lambda _: None, lambda *_: None, lambda: stopped.step >= 5)
    assert stopped.step == 5
    resumed = resumed_training(tmp_path / "a")
    assert resumed.step == 5
    resumed.run(lambda _: None)
    new_training(tmp_path / "b", late).run(lambda _: None)
    assert_same_weights(RunFolder.open(tmp_path / "a"), RunFolder.open(tmp_path / "b"))


def test_export_writes_onnx_files_only(tmp_path: Path) -> None:
    saved_run(tmp_path / "run", text_config())
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary", encoding="utf-8")
    for options in ([], ["--force"]):
        assert ".onnx" in refusal(cellwire("export", tmp_path / "run", diary, *options))
    assert diary.read_text(encoding="utf-8") == "dear diary"


def test_export_replaces_a_foreign_file_with_force_only(tmp_path: Path) -> None:
    saved_run(tmp_path / "run", text_config())
    model = tmp_path / "model.onnx"
    model.write_bytes(b"somebody's")
    assert "--force" in refusal(cellwire("export", tmp_path / "run", model))
    assert model.read_bytes() == b"somebody's"
    assert cellwire("export", tmp_path / "run", model, "--force").exit_code == 0
    assert model.read_bytes() != b"somebody's"


def test_a_best_validation_at_the_end_asks_for_more_not_less() -> None:
    setting = Setting(baseline_nats=3.3, train_tokens=380_000, parameters=90_000)
    falling = Trend(setting, (1, 2, 3, 4), (2.0, 1.5, 1.1, 0.8), (2.1, 1.8, 1.7, 1.6))
    given = verdict(falling)
    assert "Overfitting" not in given.finding
    assert "lower" not in str(given)
    assert {Advice.LONGER, Advice.LARGER} <= set(given.advice)


def test_all_labels_right_is_not_underfitting() -> None:
    setting = Setting(0.69, train_tokens=900, parameters=5_000, held_out_texts=40)
    losses = (0.3, 0.1, 0.1, 0.1)
    given = verdict(Trend(setting, (1, 2, 3, 4), losses, losses, accuracy=1.0))
    assert "40 of 40" in given.finding
    assert "Underfitting" not in given.finding
