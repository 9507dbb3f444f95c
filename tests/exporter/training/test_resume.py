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
from cellwire.exporter.errors import FileError, RunError, TrainingError
from cellwire.exporter.runs.files import write_atomically
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.training import Training

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


class StopAfter:
    """Asks a training to stop at given steps, as Ctrl-C does."""

    def __init__(self, training: Training, *steps: int) -> None:
        self._training, self._steps = training, steps

    def __call__(self) -> bool:
        return self._training.step in self._steps


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


# Before the first validation, between two, right after one, after a sample, in the last epoch.
STOPS = [(5,), (11,), (15,), (3, 7, 25), (22, 23), (49,)]


@pytest.mark.parametrize(
    ("feature", "steps"),
    [*[("carried", steps) for steps in STOPS], *[(feature, (5, 15)) for feature in FEATURES]],
)
def test_a_stopped_training_goes_on_from_the_very_step(
    tmp_path: Path, feature: str, steps: tuple[int, ...]
) -> None:
    text = TEXT
    settings = (*BASE, *FEATURES[feature])
    if feature == "labelled":
        text = reviews(tmp_path / "reviews.csv").read_text()
    whole = trained_run(tmp_path / "whole", *settings, text=text)
    last_step = whole.load("last.pt").step
    training = new_training(tmp_path / "parts", *settings, text=text)
    for step in [step for step in steps if step < last_step]:
        training.run(lambda _: None, is_stopped=StopAfter(training, step))
        assert (training.step, training.is_finished) == (step, False)
        training = resumed_training(tmp_path / "parts", text=text)
        assert training.step == step
    training.run(lambda _: None)
    parts = RunFolder.open(tmp_path / "parts")
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole, parts, name)
    assert without_speed(whole) == without_speed(parts)
    assert {path.name for path in whole.path.iterdir()} == {
        path.name for path in parts.path.iterdir()
    }
    if feature != "labelled":
        samples = [(run.path / "samples.txt").read_bytes() for run in (whole, parts)]
        assert samples[0] == samples[1]


def test_a_training_killed_after_its_next_checkpoint_goes_on_from_that(tmp_path: Path) -> None:
    training = new_training(tmp_path)
    training.run(lambda _: None, is_stopped=StopAfter(training, 5))
    pause = (tmp_path / "stopped.pt").read_bytes()
    training = resumed_training(tmp_path)
    training.run(lambda _: None, is_stopped=StopAfter(training, 20))
    assert not (tmp_path / "stopped.pt").exists()
    (tmp_path / "stopped.pt").write_bytes(pause)  # as if killed before it was removed
    assert resumed_training(tmp_path).step == 20


def test_the_last_step_needs_no_pause(tmp_path: Path) -> None:
    training = new_training(tmp_path, "run.steps=20")
    training.run(lambda _: None, is_stopped=StopAfter(training, 20))
    assert training.is_finished
    assert not (tmp_path / "stopped.pt").exists()


def test_a_loss_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    training = new_training(tmp_path, "optimizer.learning_rate=1e30", "optimizer.clip=none")
    with pytest.raises(TrainingError, match="diverged"):
        training.run(lambda _: None, is_stopped=StopAfter(training, 9))
    assert not (tmp_path / "stopped.pt").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"no checkpoint at all"])
def test_a_broken_pause_is_named(tmp_path: Path, content: bytes) -> None:
    new_training(tmp_path)
    (tmp_path / "stopped.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"stopped\.pt is not a whole checkpoint"):
        resumed_training(tmp_path)


def test_a_checkpoint_is_no_pause(tmp_path: Path) -> None:
    run = trained_run(tmp_path, "run.steps=20")
    (tmp_path / "stopped.pt").write_bytes((run.path / "last.pt").read_bytes())
    with pytest.raises(RunError, match=r"stopped\.pt is not a whole checkpoint"):
        resumed_training(tmp_path)


def test_a_pause_of_another_network_does_not_fit(tmp_path: Path) -> None:
    small = new_training(tmp_path / "small", "network.hidden=9")
    small.run(lambda _: None, is_stopped=StopAfter(small, 5))
    new_training(tmp_path / "parts")
    (tmp_path / "parts" / "stopped.pt").write_bytes(
        (tmp_path / "small" / "stopped.pt").read_bytes()
    )
    with pytest.raises(RunError, match=r"stopped\.pt does not fit"):
        resumed_training(tmp_path / "parts")


def test_what_killed_writes_left_is_removed(tmp_path: Path) -> None:
    new_training(tmp_path)
    (tmp_path / ".last.pt.4711.partial").write_bytes(b"half")
    (tmp_path / ".keep").write_bytes(b"")
    resumed_training(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", ".keep"}


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
