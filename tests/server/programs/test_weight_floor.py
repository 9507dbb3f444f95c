"""The tokens that top_p and min_p leave, against a sort in float64."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.programs.graph_session import Run, runs

from cellwire.server.programs.columns import LOG_MIN_P, TOP_P
from cellwire.server.programs.cumulative_draw import in_blocks
from cellwire.server.programs.graph import Graph
from cellwire.server.programs.weight_floor import above_floor, add_floors, find_scale

VOCABULARIES = (2, 83, 128, 129, 512, 513, 1_000, 3_000, 10_000)
SHARES = (1e-8, 1e-3, 0.1, 0.5, 0.9, 0.99, 1 - 2.0**-24)
INTERVALS = 1_024
ROUNDING = 2e-5  # of sums of float32


@cache
def floor(vocabulary: int, *, limits_top_p: bool = True, threads: int = 1) -> Run:
    """Scaled weights that stay, [batch, vocabulary], by weights, top_p and log_min_p."""
    outer, graph = Graph("outer"), Graph("step")
    floors = add_floors(outer, vocabulary, limits_top_p=limits_top_p)
    weight = in_blocks(graph, "weight", vocabulary)
    kept = above_floor(graph, weight, find_scale(graph, floors, weight))
    run = runs(
        [outer, graph], {"weight": vocabulary, TOP_P: 1, LOG_MIN_P: 1}, [kept], threads=threads
    )

    def flat(weight: np.ndarray, top_p: np.ndarray, min_p: np.ndarray) -> list[np.ndarray]:
        with np.errstate(divide="ignore"):
            log_min_p = np.log(np.asarray(min_p, np.float32))
        kept = run(weight, top_p, log_min_p)[0].reshape(len(weight), -1)
        assert not kept[:, vocabulary:].any(), "padding stays"
        return [kept[:, :vocabulary]]

    return flat


def kept(vocabulary: int, weight: np.ndarray, top_p: object, min_p: object = 0.0) -> np.ndarray:
    """Whether each token stays: bool[batch, vocabulary]."""
    rows = len(weight)
    columns = (np.broadcast_to(np.asarray(limit), rows) for limit in (top_p, min_p))
    return floor(vocabulary)(weight, *columns)[0] > 0


def distributions(random: np.random.Generator, rows: int, vocabulary: int) -> np.ndarray:
    """From nearly equal weights to far apart, some with many ties, some with zeros."""
    logits = random.normal(size=(rows, vocabulary)) * random.choice([0, 0.1, 1, 4, 20], (rows, 1))
    logits = np.where(random.random((rows, 1)) < 0.3, np.round(logits), logits)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights[1::5, : vocabulary // 2] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("share", SHARES)
def test_top_p_keeps_the_likeliest_that_reach_it_and_what_is_as_likely(
    vocabulary: int, share: float
) -> None:
    weight = distributions(np.random.default_rng(vocabulary), 60, vocabulary)
    stays = kept(vocabulary, weight, share)
    exact = weight.astype(np.float64)
    least = np.where(stays, exact, np.inf).min(axis=1, keepdims=True)
    likeliest = exact.max(axis=1, keepdims=True)
    assert (stays == (exact >= least)).all(), "a likelier token is left out"
    assert (least <= likeliest).all(), "nothing stays"
    assert ((exact * stays).sum(axis=1) >= share - ROUNDING).all(), "too few stay"
    # Tokens that are likelier than the least by more than the interval do not reach it.
    interval = vocabulary ** (1 / INTERVALS)
    likelier = exact > least * interval * (1 + 1e-4)
    assert ((exact * likelier).sum(axis=1) < share + ROUNDING).all(), "too many stay"


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_equal_tokens_all_stay(vocabulary: int) -> None:
    weight = np.full((len(SHARES), vocabulary), 1 / vocabulary, np.float32)
    assert kept(vocabulary, weight, SHARES).all()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("limits_top_p", [False, True])
def test_without_limits_weights_are_scaled_exactly(
    vocabulary: int,
    limits_top_p: bool,  # noqa: FBT001
) -> None:
    """Down to the least number there is, so that a row's draw is that of other programs."""
    weight = distributions(np.random.default_rng(0), 20, vocabulary)
    weight[:, 0] = np.geomspace(2.0**-149, 1, 20)
    run = floor(vocabulary, limits_top_p=limits_top_p) if limits_top_p else _without(vocabulary)
    scaled = run(weight, np.ones(20), np.zeros(20))[0]
    assert (scaled == weight * np.float32(2.0**100)).all()


def _without(vocabulary: int) -> Run:
    """The program of batches in which no row has a top_p, with an input for it all the same."""
    outer, graph = Graph("outer"), Graph("step")
    floors = add_floors(outer, vocabulary, limits_top_p=False)
    weight = in_blocks(graph, "weight", vocabulary)
    scaled = above_floor(graph, weight, find_scale(graph, floors, weight))
    run = runs([outer, graph], {"weight": vocabulary, LOG_MIN_P: 1}, [scaled])
    return lambda weight, _top_p, min_p: [
        run(weight, np.where(min_p > 0, min_p, -np.inf))[0].reshape(len(weight), -1)[:, :vocabulary]
    ]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("min_p", [1e-30, 1e-3, 0.3, 1.0])
def test_min_p_keeps_what_has_its_share_of_the_likeliest(vocabulary: int, min_p: float) -> None:
    weight = distributions(np.random.default_rng(1), 60, vocabulary)
    stays = kept(vocabulary, weight, 1.0, min_p)
    share = weight.astype(np.float64) / weight.max(axis=1, keepdims=True)
    assert stays[share >= min_p].all()
    assert not stays[share < min_p * (1 - 1e-5)].any()


def test_both_limits_leave_what_each_leaves() -> None:
    weight = distributions(np.random.default_rng(2), 60, 1_000)
    top_p, min_p = kept(1_000, weight, 0.8), kept(1_000, weight, 1.0, 0.1)
    assert (kept(1_000, weight, 0.8, 0.1) == (top_p & min_p)).all()


def test_a_row_of_nan_keeps_nothing() -> None:
    weight = distributions(np.random.default_rng(3), 3, 1_000)
    expected = kept(1_000, weight, 0.8, 0.1)
    weight[1] = np.nan
    expected[1] = False
    assert (kept(1_000, weight, 0.8, 0.1) == expected).all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    vocabulary=st.sampled_from(VOCABULARIES),
    threads=st.sampled_from([1, 2]),
    cuts=st.lists(st.integers(1, 39), unique=True, max_size=6),
)
def test_what_stays_does_not_depend_on_the_company(
    seed: int, vocabulary: int, threads: int, cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    weight = distributions(random, 40, vocabulary)
    columns = weight, random.choice([0.3, 0.9, 1], 40), random.choice([0, 0.01], 40)
    run = floor(vocabulary, threads=threads)
    parts = np.split(np.arange(40), sorted(cuts))
    apart = [run(*(column[part] for column in columns))[0] for part in parts]
    assert (run(*columns)[0] == np.concatenate(apart)).all()
