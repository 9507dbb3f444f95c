from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cellwire.exporter.corpus import Split
from cellwire.exporter.errors import RunError, TrainingError
from cellwire.exporter.run import Progress, Run, RunConfig
from cellwire.exporter.train import Training

from .conftest import TEXT

MakeTraining = Callable[..., Training]


class Stopped(Exception):  # stands for Ctrl-C, which is no error either
    pass


def test_it_learns_a_text_that_repeats_itself(training: MakeTraining, tmp_path: Path) -> None:
    seen: list[Progress] = []
    training(tmp_path / "run", validate_every=60).run(seen.append)
    validations = [p.validation_bpc for p in seen if p.validation_bpc is not None]
    assert seen[0].train_bpc > 4
    assert validations[-1] < 0.3


def test_a_resumed_training_equals_one_never_stopped(
    training: MakeTraining, tmp_path: Path
) -> None:
    def stop_at_50(progress: Progress) -> None:
        if progress.step == 50:
            raise Stopped

    training(tmp_path / "whole", validate_every=20).run(lambda _: None)
    with pytest.raises(Stopped):
        training(tmp_path / "parts", validate_every=20).run(stop_at_50)
    again = training(tmp_path / "parts")
    again.resume()
    assert again.step == 40
    again.run(lambda _: None)

    whole, parts = (Run.open(tmp_path / name).load("last.pt") for name in ("whole", "parts"))
    assert (whole.step, whole.best_bpc) == (parts.step, parts.best_bpc)
    for name, tensor in whole.model.items():
        assert torch.equal(tensor, parts.model[name]), name


def test_resuming_before_the_first_checkpoint_starts_over(
    training: MakeTraining, tmp_path: Path
) -> None:
    training(tmp_path / "run")
    again = training(tmp_path / "run")
    again.resume()
    assert again.step == 0


def test_a_run_starts_from_the_best_weights_of_another(
    training: MakeTraining, trained: Run, tmp_path: Path
) -> None:
    second = training(tmp_path / "second")
    second.start_from(trained)
    for name, tensor in trained.best_model()[0].state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert second.step == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [({"hidden": 33}, "another size"), ({"symbols": ("a", "b")}, "other symbols")],
)
def test_weights_that_do_not_fit_are_refused(
    trained: Run, config: RunConfig, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    other = replace(config, **change)
    split = Split.of(config.vocabulary.encode(TEXT), config.validation_share)
    second = Training(Run.create(tmp_path / "second", other), other, split)
    with pytest.raises(RunError, match=words):
        second.start_from(trained)


def test_resuming_what_is_done_does_nothing(training: MakeTraining, trained: Run) -> None:
    seen: list[Progress] = []
    again = training(trained.path)
    again.resume()
    again.run(seen.append)
    assert (again.step, seen) == (again.steps, [])


def test_the_best_checkpoint_is_kept(
    training: MakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.25])
    monkeypatch.setattr("cellwire.exporter.train.validation_bpc", lambda *_: next(losses))
    training(tmp_path / "run", validate_every=40).run(lambda _: None)
    best, last = (Run.open(tmp_path / "run").load(name) for name in ("best.pt", "last.pt"))
    assert (best.step, best.validation_bpc) == (80, 2.0)
    assert (last.step, last.validation_bpc, last.best_bpc) == (125, 2.25, 2.0)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["validation_bpc"] for line in lines] == [3.0, 2.0, 2.5, 2.25]


def test_a_training_that_diverges_says_so(tmp_path: Path, config: RunConfig) -> None:
    config = replace(config, learning_rate=1e30)
    split = Split.of(config.vocabulary.encode(TEXT), config.validation_share)
    diverging = Training(Run.create(tmp_path / "run", config), config, split)
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        diverging.run(lambda _: None)
