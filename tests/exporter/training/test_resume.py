"""A resumed training equals one that was never stopped, bit for bit, wherever it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.exporter.trainings import (
    LABELLED,
    TEXT,
    assert_same_weights,
    new_training,
    resumed_training,
    reviews,
    trained_run,
)

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.errors import FileError
from cellwire.exporter.runs.files import write_atomically
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_folder import RunFolder

BASE = (
    "network.layers=2",
    "network.dropout=0.2",
    "run.epochs=2",
    "run.validate_every=11",
    "run.sample_every=1",
)
FEATURES = {
    "carried": ("batches.order=carried",),
    "random": ("batches.order=random", "batches.loss=last", "network.input=one_hot"),
    "shuffled_rows": ("batches.order=shuffled_rows", "optimizer.kind=adam"),
    "sgd": ("optimizer.kind=sgd", "optimizer.schedule=step", "optimizer.clip=norm"),
    "rmsprop": ("optimizer.kind=rmsprop", "optimizer.schedule=constant", "optimizer.clip=value"),
    "by_hand": ("network.cell=rnn_by_hand", "network.dropout_inputs=0.1"),
    "mingru": ("network.cell=mingru", "network.dropout_outputs=0.1", "data.validation_fraction=0"),
    "words": ("data.symbols=words", "data.vocabulary=6", "batches.window=4"),
    "labelled": (*LABELLED, "run.sample_every=0", "batches.lanes=4"),
}


class Stopped(Exception):  # in place of KeyboardInterrupt
    pass


def stop_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step >= step:
            raise Stopped

    return report


def without_speed(run: RunFolder) -> list[tuple[object, ...]]:
    return [
        (p.step, p.train, p.validation, p.best_loss, p.learning_rate) for p in run.read_metrics()
    ]


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellwire.exporter.training.training.REPORT_EVERY_S", 0)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_resumed_training_equals_one_never_stopped(tmp_path: Path, feature: str) -> None:
    text = TEXT
    settings = (*BASE, *FEATURES[feature])
    if feature == "labelled":
        text = Corpus.read(reviews(tmp_path / "reviews.csv")).raw.decode()
    whole = trained_run(tmp_path / "whole", *settings, text=text)
    with pytest.raises(Stopped):
        new_training(tmp_path / "parts", *settings, text=text).run(stop_at(15))
    again = resumed_training(tmp_path / "parts", text=text)
    assert again.step == 11
    again.run(lambda _: None)
    parts = RunFolder.open(tmp_path / "parts")
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole, parts, name)
    assert without_speed(whole) == without_speed(parts)
    if feature != "labelled":
        samples = [(run.path / "samples.txt").read_bytes() for run in (whole, parts)]
        assert samples[0] == samples[1]


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_a_training_may_be_killed_between_any_two_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    settings = ("run.steps=33", "run.validate_every=11", "run.sample_every=1", "run.keep_every=1")
    whole = trained_run(tmp_path / "whole", *settings)
    writes = iter(range(1, 100))

    def killed(path: Path, data: bytes) -> None:
        if next(writes) == killed_at:
            raise Stopped
        write_atomically(path, data)

    training = new_training(tmp_path / "parts", *settings)
    with monkeypatch.context() as patch:
        patch.setattr("cellwire.exporter.runs.run_folder.write_atomically", killed)
        with pytest.raises(Stopped):
            training.run(lambda _: None)
    resumed_training(tmp_path / "parts").run(lambda _: None)
    parts = RunFolder.open(tmp_path / "parts")
    for name in ("last.pt", "best.pt", "step-11.pt", "step-22.pt", "step-33.pt"):
        assert_same_weights(whole, parts, name)
    assert without_speed(whole) == without_speed(parts)
    assert (whole.path / "samples.txt").read_bytes() == (parts.path / "samples.txt").read_bytes()


def test_a_full_disk_leaves_the_checkpoints_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("run.steps=33", "run.validate_every=11")
    whole = trained_run(tmp_path / "whole", *settings)
    training = new_training(tmp_path / "parts", *settings)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if training.step > 11:
            write(path, data[:100])
            raise OSError(28, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(FileError, match="No space left on device"):
            training.run(lambda _: None)
    parts = RunFolder.open(tmp_path / "parts")
    assert {parts.load(name).step for name in ("last.pt", "best.pt")} == {11}
    resumed_training(parts.path).run(lambda _: None)
    assert_same_weights(whole, parts)


def test_before_the_first_checkpoint_a_training_restarts(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        new_training(tmp_path / "parts").run(stop_at(5))
    again = resumed_training(tmp_path / "parts")
    assert again.step == 0
    again.run(lambda _: None)
    assert_same_weights(trained_run(tmp_path / "whole"), RunFolder.open(tmp_path / "parts"))


def test_resuming_a_finished_training_does_nothing(tmp_path: Path) -> None:
    run = trained_run(tmp_path, "run.steps=20")
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    again = resumed_training(tmp_path)
    again.run(stop_at(0))
    assert again.step == 20
    assert before == {path.name: path.read_bytes() for path in run.path.iterdir()}
