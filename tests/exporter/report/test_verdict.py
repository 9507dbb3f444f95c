"""What the curves of a training justify saying."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cellwire.exporter.report.trend import Setting, Trend, entropy
from cellwire.exporter.report.verdict import Advice, verdict
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress

# Losses of trainings on 400 KB of Python's standard library, and of three others.
RECORDED = Path(__file__).parent / "recorded"

SETTING = Setting(baseline_nats=3.0, train_tokens=1_000, parameters=5_000)


def trend(
    held_out: tuple[float, ...], train: tuple[float, ...] | None = None, **changes: object
) -> Trend:
    """Of losses at the steps 10, 20, ...; by default the training loss is a tenth lower."""
    steps = tuple(range(10, 10 * len(held_out) + 1, 10))
    train = train or tuple(0.9 * loss for loss in held_out)
    return replace(Trend(SETTING, steps, train, held_out), **changes)  # type: ignore[arg-type]


FALLING = trend((2.5, 2.2, 2.0, 1.9, 1.8, 1.7))
LEVEL = trend((2.5, 1.9, 1.8, 1.8, 1.8, 1.8))
RISING = trend((2.5, 1.9, 1.8, 1.9, 2.0), (2.4, 1.7, 1.4, 1.2, 1.0))
CLASSIFIER = replace(SETTING, baseline_nats=math.log(2), held_out_texts=200)


@pytest.mark.parametrize(
    ("curves", "finding", "advice"),
    [
        (None, "Nothing was held out", ""),
        (FALLING, "Still learning: the held-out loss fell by 15.0% in", "LONGER LARGER"),
        (
            replace(FALLING, train=(2.4, 2.0, 1.8, 1.6, 1.5, 1.4)),
            "Still learning",
            "LONGER LARGER MORE_TEXT",
        ),
        (RISING, "Overfitting: after step 30 the network memorized", "MORE_TEXT DROPOUT"),
        (replace(LEVEL, train=LEVEL.held_out), "Underfitting: ", "LARGER LONGER"),
        (
            replace(LEVEL, train=LEVEL.held_out, setting=replace(SETTING, dropout=True)),
            "Underfitting: ",
            "LARGER LONGER LESS_DROPOUT",
        ),
        (LEVEL, "A good fit: ", "MORE_TEXT LARGER DROPOUT"),
        (trend((2.5, 2.0, 1.5)), "Too short to judge: 3 validations", "LONGER"),
        (trend((2.5,)), "Too short to judge: 1 validation ", "LONGER"),
        (trend((2.5, 2.0, 2.3, 2.0), (2.5, 2.0, 2.3, 2.1)), "Unsteady: ", "LOWER_RATE"),
        (
            trend((4.2, 4.19, 4.18, 4.17)),
            "The network has learnt almost nothing",
            "HIGHER_RATE LONGER CHECK_TEXT",
        ),
        (
            trend((3.0, 2.99, 2.99, 2.99)),
            "The network has learnt almost nothing",
            "OTHER_RATE LONGER CHECK_TEXT",
        ),
        (
            trend((9.0, 5.0, 4.0, 3.5), (3.0, 9.0, 5.0, 4.0)),
            "The network has learnt almost nothing",
            "LOWER_RATE LONGER CHECK_TEXT",
        ),
        (trend((1.0, 0.5, 0.1, 0.01)), "Solved: the held-out text is predicted", "CHECK_TEXT"),
        (
            trend((0.5, 0.1, 0.01, 0.003), setting=CLASSIFIER, accuracy=1.0),
            "Solved: 200 of 200 held-out texts are right",
            "HOLD_OUT_MORE",
        ),
    ],
)
def test_curves_decide_the_verdict(curves: Trend | None, finding: str, advice: str) -> None:
    given_verdict = verdict(curves)
    assert given_verdict.finding.startswith(finding)
    assert (
        [each.name for each in given_verdict.advice] == (advice or "").split() if advice else True
    )


@pytest.mark.parametrize(
    ("name", "finding", "first_advice"),
    [
        ("python-1x64-10-epochs", "Still learning: ", Advice.LONGER),
        ("python-1x128-3-epochs", "Still learning: ", Advice.LONGER),
        ("python-1x128-10-epochs", "Still learning: ", Advice.LONGER),
        ("python-2x256-10-epochs", "Still learning: ", Advice.LONGER),
        ("twenty-kilobytes-1x256-150-epochs", "Overfitting: ", Advice.MORE_TEXT),
        ("learning-rate-3", "Unsteady: ", Advice.LOWER_RATE),
        ("classifier-all-right", "Solved: ", Advice.HOLD_OUT_MORE),
    ],
)
def test_trainings_that_were_made_get_the_right_advice(
    name: str, finding: str, first_advice: Advice
) -> None:
    tables = json.loads((RECORDED / f"{name}.json").read_text())
    setting = Setting(**tables.pop("setting"))
    lists = {key: value for key, value in tables.items() if key != "accuracy"}
    recorded = Trend(setting, **lists, accuracy=tables["accuracy"])
    given_verdict = verdict(recorded)
    assert given_verdict.finding.startswith(finding)
    assert given_verdict.advice[0] is first_advice


def test_a_verdict_reads_as_sentences() -> None:
    assert str(verdict(FALLING)) == (
        "Still learning: the held-out loss fell by 15.0% in the second half and was at its best "
        "at the end. Worth a try: train longer (run.epochs); a larger network (network.hidden, "
        "network.layers)."
    )
    assert "Worth a try" not in str(verdict(None))


LOSSES = st.floats(1e-4, 20)
CURVES = st.integers(1, 30).flatmap(
    lambda count: st.tuples(
        st.lists(LOSSES, min_size=count, max_size=count),
        st.lists(LOSSES, min_size=count, max_size=count),
    )
)
SETTINGS = st.builds(
    Setting,
    baseline_nats=st.floats(0.01, 12),
    train_tokens=st.integers(1, 10**9),
    parameters=st.integers(1, 10**9),
    held_out_texts=st.integers(1, 1000),
    dropout=st.booleans(),
)


@given(CURVES, SETTINGS, st.none() | st.floats(0, 1))
def test_any_curves_get_a_verdict_that_never_asks_for_less_network(
    losses: tuple[list[float], list[float]], setting: Setting, accuracy: float | None
) -> None:
    train, held_out = map(tuple, losses)
    text = str(verdict(trend(held_out, train, setting=setting, accuracy=accuracy)))
    assert not {"lower network.hidden", "smaller", "fewer"} & {text, *text.split()}
    assert text.endswith(".")


@given(
    st.lists(st.floats(0.5, 2.8), min_size=4, max_size=30, unique=True),
    st.lists(st.floats(0.5, 2.8), min_size=30, max_size=30),
)
def test_a_loss_that_falls_to_the_end_is_never_called_overfitting(
    held_out: list[float], train: list[float]
) -> None:
    falling = tuple(sorted(held_out, reverse=True))
    curves = trend(falling, tuple(sorted(train[: len(falling)], reverse=True)))
    given_verdict = verdict(curves)
    assert "Overfitting" not in given_verdict.finding
    if curves.gain_of_second_half > 0.011 and curves.best < 2.8:
        assert given_verdict.advice[:2] == (Advice.LONGER, Advice.LARGER)


@given(st.lists(st.floats(0.02, 1), min_size=3, max_size=20), st.integers(1, 10))
def test_memorizing_is_seen_wherever_it_begins(falls: list[float], rises: int) -> None:
    held_out = [2.5]
    for fall in falls:
        held_out.append(held_out[-1] * (1 - fall / 10))
    best = held_out[-1]
    held_out += [best * (1 + 0.03 * i) for i in range(1, rises + 1)]
    train = tuple(2.4 - 2 * i / len(held_out) for i in range(len(held_out)))
    assert all(a > b for a, b in pairwise(train))
    given_verdict = verdict(trend(tuple(held_out), train))
    assert f"after step {10 * (len(falls) + 1)} " in given_verdict.finding
    assert given_verdict.advice[0] is Advice.MORE_TEXT


@given(CURVES, st.floats(0.1, 10))
def test_the_unit_of_the_loss_makes_no_difference(
    losses: tuple[list[float], list[float]], unit: float
) -> None:
    train, held_out = map(tuple, losses)
    curves = trend(held_out, train)
    setting = replace(SETTING, baseline_nats=SETTING.baseline_nats * unit)
    scaled = trend(
        tuple(unit * loss for loss in held_out),
        tuple(unit * loss for loss in train),
        setting=setting,
    )
    margins = [curves.rise_since_best - 0.02, curves.gain_of_second_half - 0.01, curves.gap - 0.15]
    assume(min(map(abs, margins)) > 1e-6)
    assert verdict(scaled).advice == verdict(curves).advice


def checkpoints(*nats: tuple[float, float | None]) -> list[Progress]:
    return [
        Progress(10 * i, 100, Measure(t), None if v is None else Measure(v, 1 / i), None, 1.0)
        for i, (t, v) in enumerate(nats, start=1)
    ]


def test_a_trend_is_that_of_the_whole_training() -> None:
    curves = Trend.of(checkpoints((3, 3.1), (2, 2.0), (1.5, 2.2), (1.0, 2.6)), SETTING)
    assert curves == Trend(
        SETTING, (10, 20, 30, 40), (3, 2, 1.5, 1.0), (3.1, 2.0, 2.2, 2.6), accuracy=0.5
    )
    assert (curves.best, curves.best_step) == (2.0, 20)
    assert curves.rise_since_best == pytest.approx(0.3)
    assert curves.train_fell_since_best
    assert curves.gap == pytest.approx(1.6)
    assert curves.largest_rises == pytest.approx((0.0, 0.2))


def test_without_held_out_text_there_is_no_trend() -> None:
    assert Trend.of(checkpoints((3, None), (2, None)), SETTING) is None


def test_one_checkpoint_is_a_trend_of_nothing() -> None:
    curves = trend((0.0,), (0.0,))
    assert (curves.gain_of_second_half, curves.gap, curves.rise_since_best) == (0, 0, 0)
    assert trend((1.0,), (0.0,)).gap == math.inf


@given(st.lists(st.integers(0, 1000), min_size=1).filter(any))
def test_entropy_is_between_certainty_and_chance(counts: list[int]) -> None:
    assert -1e-9 <= entropy(counts) <= math.log(len(counts)) + 1e-9


def test_entropy_of_two_sides_of_a_coin() -> None:
    assert entropy([5, 5, 0]) == pytest.approx(math.log(2))
