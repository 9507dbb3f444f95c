from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cellwire.exporter.report.verdict import Losses, verdict
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress

GOOD = Losses(train=1.0, best=1.1, best_step=900, final=1.1, earlier=1.105, uniform=4.4)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (GOOD, "A good fit"),
        (replace(GOOD, best=4.3, final=4.3, train=4.3, earlier=4.35), "learnt almost nothing"),
        (replace(GOOD, final=1.3), "Overfitting: after step 900"),
        (replace(GOOD, train=0.7), "clearly higher on held-out text"),
        (replace(GOOD, earlier=1.3), "still falling at the end"),
        (replace(GOOD, train=1.2), "could learn more"),
        (None, "Nothing was held out"),
    ],
)
def test_losses_decide_the_verdict(losses: Losses | None, words: str) -> None:
    assert words in verdict(losses)


@pytest.mark.parametrize("losses", [replace(GOOD, final=1.3), replace(GOOD, train=0.7)])
def test_a_verdict_of_overfitting_names_settings(losses: Losses) -> None:
    assert "network.dropout" in verdict(losses)
    assert "optimizer.weight_decay" in verdict(losses)


def checkpoints(*nats: tuple[float, float | None]) -> list[Progress]:
    return [
        Progress(10 * i, 100, Measure(t), None if v is None else Measure(v), None, 1.0)
        for i, (t, v) in enumerate(nats, start=1)
    ]


def test_losses_are_those_of_the_whole_training() -> None:
    losses = Losses.of(checkpoints((3, 3.1), (2, 2.0), (1.5, 2.2), (1.2, 2.4), (1.0, 2.6)), 83)
    assert losses == Losses(
        train=1.0, best=2.0, best_step=20, final=2.6, earlier=2.4, uniform=math.log(83)
    )


def test_a_training_of_one_checkpoint_has_losses_too() -> None:
    losses = Losses.of(checkpoints((3, 3.1)), 83)
    assert losses is not None
    assert (losses.best, losses.earlier) == (3.1, 3.1)


def test_without_held_out_text_there_are_no_losses() -> None:
    assert Losses.of(checkpoints((3, None), (2, None)), 83) is None
