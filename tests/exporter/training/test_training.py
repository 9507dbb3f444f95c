from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.exporter.trainings import (
    LABELLED,
    assert_same_weights,
    corpus,
    new_training,
    recipe,
    reviews,
    trained_run,
)

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.errors import TrainingError
from cellwire.exporter.network.kinds import KINDS
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.compute import CPU
from cellwire.exporter.training.start import start_training


def test_a_repetitive_text_is_learned(tmp_path: Path) -> None:
    checkpoints: list[Progress] = []
    training = new_training(tmp_path / "run", "run.epochs=6")
    training.run(lambda p: checkpoints.append(p) if p.checkpoint else None)
    first, last = checkpoints[0], checkpoints[-1]
    assert first.train.nats > 2
    assert last.validation is not None
    assert last.validation.bits < 0.5


@pytest.mark.parametrize("cell", KINDS)
def test_every_kind_of_cell_learns(tmp_path: Path, cell: str) -> None:
    run = trained_run(tmp_path, f"network.cell={cell}", "optimizer.learning_rate=0.01")
    validations = [p.validation.nats for p in run.read_metrics() if p.validation]
    assert validations[-1] < validations[0] < 3.3


def test_labels_are_learned(tmp_path: Path) -> None:
    text = Corpus.read(reviews(tmp_path / "reviews.csv"))
    settings = (*LABELLED, "run.epochs=12", "network.layers=1")
    training, _ = start_training(text, recipe(*settings), tmp_path / "run", None, CPU)
    training.run(lambda _: None)
    network, best = RunFolder.open(tmp_path / "run").load_network()
    assert network.head.out_features == 2
    assert best.accuracy == 1


def test_best_is_the_checkpoint_of_the_lowest_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.25])
    monkeypatch.setattr(
        "cellwire.exporter.training.training.evaluate", lambda *_: Measure(next(losses))
    )
    run = trained_run(tmp_path)
    best, last = run.load("best.pt"), run.load("last.pt")
    assert (best.step, best.loss) == (40, 2.0)
    assert (last.step, last.loss, last.best_loss) == (75, 2.25, 2.0)
    assert [p.validation for p in run.read_metrics()] == [Measure(n) for n in (3.0, 2.0, 2.5, 2.25)]


def test_without_held_out_text_the_training_loss_decides(tmp_path: Path) -> None:
    run = trained_run(tmp_path, "data.validation_fraction=0")
    best = run.load("best.pt")
    assert not best.held_out
    assert best.loss == min(p.train.nats for p in run.read_metrics())
    assert all(p.validation is None for p in run.read_metrics())


def test_checkpoints_are_kept_at_the_given_interval(tmp_path: Path) -> None:
    trained_run(tmp_path, "run.keep_every=2", "run.validate_every=10", "run.steps=65")
    kept = {path.name for path in tmp_path.glob("step-*.pt")}
    assert kept == {"step-20.pt", "step-40.pt", "step-60.pt"}
    assert RunFolder(tmp_path).load("step-40.pt").step == 40


def test_a_line_of_metrics_has_all_units(tmp_path: Path) -> None:
    run = trained_run(tmp_path, "run.steps=20")
    (line,) = (json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines())
    for part in ("train", "validation"):
        assert line[part].keys() == {"nats", "bits", "perplexity"}
        assert line[part]["bits"] == pytest.approx(line[part]["nats"] * 1.4427, rel=1e-4)
    assert line["step"] == 20


def test_samples_do_not_change_the_training(tmp_path: Path) -> None:
    settings = ("network.layers=2", "network.dropout=0.3", "run.epochs=2")
    without = trained_run(tmp_path / "without", *settings, "run.sample_every=0")
    samples: list[str] = []
    prefixes = ('run.sample_prompts=["the ", "fox"]', "run.sample_every=1")
    training = new_training(tmp_path / "with", *settings, *prefixes)
    training.run(lambda _: None, samples.append)
    assert_same_weights(without, RunFolder.open(tmp_path / "with"))
    assert [text[:3] for text in samples] == ["the", "fox", "the", "fox"]
    assert {len(text) for text in samples} == {13, 12}
    written = (tmp_path / "with" / "samples.txt").read_text()
    assert written.startswith(
        f"--- step 25\n{samples[0]}\n\n--- step 25\n{samples[1]}\n\n--- step 50\n"
    )


@pytest.mark.parametrize("clip", ["global_norm", "norm", "value"])
def test_a_training_that_diverges_names_the_last_good_checkpoint(tmp_path: Path, clip: str) -> None:
    settings = (f"optimizer.clip={clip}", "optimizer.clip_at=1e30", "optimizer.kind=sgd")
    training = new_training(tmp_path, *settings, "run.validate_every=1")
    rates = iter([1e-3, 1e-3, *[1e38] * 9])
    training._learning_rate = lambda: next(rates)  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"last\.pt \(step 2\).*lower --learning-rate"):
        training.run(lambda _: None)
    for name in ("last.pt", "best.pt"):
        model = RunFolder(tmp_path).load(name).model
        assert all(torch.isfinite(tensor).all() for tensor in model.values())


def test_diverging_before_the_first_checkpoint(tmp_path: Path) -> None:
    training = new_training(tmp_path, "optimizer.learning_rate=1e30", "optimizer.clip=none")
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        training.run(lambda _: None)


def test_a_run_starts_from_the_best_weights_of_another(tmp_path: Path) -> None:
    first = trained_run(tmp_path / "first")
    training, description = start_training(corpus(), recipe(), tmp_path / "second", first.path, CPU)
    for name, tensor in first.load_network()[0].state_dict().items():
        assert torch.equal(tensor, training.network.state_dict()[name]), name
    assert (training.step, str(first.path) in description) == (0, True)
