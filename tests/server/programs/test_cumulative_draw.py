"""Draws from blocks of weights, against the inverse CDF in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.programs.graph_session import runs

from cellwire.server.programs.cumulative_draw import (
    BLOCK,
    MOST_WHOLE,
    blocks_of,
    draw_from_blocks,
    in_blocks,
)
from cellwire.server.programs.graph import Graph

VOCABULARIES = (127, 128, 129, 130, 256, 512, 513, 640, 641, 1_000, 3_000, 10_000)
VAST = 20_000  # more than 128 blocks
LEAST, MOST = 0.0, 1 - 2.0**-23  # of uniform numbers

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]


@cache
def draw(vocabulary: int) -> Draw:
    """Draws a place of each row, [batch], from weights [batch, vocabulary] and uniforms [batch]."""
    graph = Graph("draw")
    place = draw_from_blocks(graph, in_blocks(graph, "weight", vocabulary), "uniform", vocabulary)
    run = runs([graph], {"weight": vocabulary, "uniform": 1}, [place])
    return lambda weight, uniform: run(weight, uniform)[0][:, 0]


def random_weights(random: np.random.Generator, rows: int, vocabulary: int) -> np.ndarray:
    """Weights from nearly equal to far apart, many of them 0: single ones, and whole blocks."""
    logits = random.normal(size=(rows, vocabulary)) * random.choice([0.1, 1, 5], (rows, 1))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights[random.random((rows, vocabulary)) < random.choice([0, 0.5, 0.99], (rows, 1))] = 0
    blocks = random.random((rows, -(-vocabulary // BLOCK))) < random.choice([0, 0.5], (rows, 1))
    weights[np.repeat(blocks, BLOCK, axis=1)[:, :vocabulary]] = 0
    weights[np.arange(rows), random.integers(0, vocabulary, rows)] = 0.25
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def random_uniforms(random: np.random.Generator, rows: int) -> np.ndarray:
    uniform = random.integers(0, 2**23, rows) * 2.0**-23
    return np.where(random.random(rows) < 0.2, random.choice([LEAST, MOST], rows), uniform)


@pytest.mark.parametrize("vocabulary", [*VOCABULARIES, VAST])
def test_the_place_is_that_of_the_distributions_inverse(vocabulary: int) -> None:
    random = np.random.default_rng(vocabulary)
    rows = 200
    weight, uniform = random_weights(random, rows, vocabulary), random_uniforms(random, rows)
    place = draw(vocabulary)(weight, uniform)
    cumulated = np.cumsum(weight.astype(np.float64), axis=1)
    mark = uniform * cumulated[:, -1]
    at = np.take_along_axis(cumulated, place[:, None], axis=1)[:, 0]
    drawn = np.take_along_axis(weight, place[:, None], axis=1)[:, 0]
    rounding = (MOST_WHOLE + blocks_of(vocabulary)) * 2.0**-24
    assert (drawn > 0).all()
    assert (mark <= at + rounding).all()
    assert (mark >= at - drawn - rounding).all()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("uniform", [LEAST, 0.5, MOST])
def test_what_has_no_weight_is_never_drawn(vocabulary: int, uniform: float) -> None:
    """The only weight is at each place in turn: at edges of blocks, and before the padding."""
    places = np.unique([*range(0, vocabulary, 50), *range(0, vocabulary, BLOCK), vocabulary - 1])
    edges = np.arange(BLOCK - 1, vocabulary, BLOCK)
    places = np.concatenate([places, edges])
    weight = np.zeros((len(places), vocabulary), np.float32)
    weight[np.arange(len(places)), places] = np.random.default_rng(0).random(len(places)) + 1e-3
    found = draw(vocabulary)(weight, np.full(len(places), uniform))
    assert (found == places).all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    vocabulary=st.sampled_from([*VOCABULARIES, VAST]),
    cuts=st.lists(st.integers(1, 39), unique=True, max_size=6),
)
def test_a_rows_draw_does_not_depend_on_its_company(
    seed: int, vocabulary: int, cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    weight, uniform = random_weights(random, 40, vocabulary), random_uniforms(random, 40)
    whole = draw(vocabulary)(weight, uniform)
    parts = np.split(np.arange(40), sorted(cuts))
    apart = [draw(vocabulary)(weight[part], uniform[part]) for part in parts]
    assert (whole == np.concatenate(apart)).all()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_weights_scaled_by_a_power_of_two_give_the_same_draw(vocabulary: int) -> None:
    random = np.random.default_rng(1)
    weight, uniform = random_weights(random, 99, vocabulary), random_uniforms(random, 99)
    expected = draw(vocabulary)(weight, uniform)
    assert (draw(vocabulary)(weight * np.float32(2.0**100), uniform) == expected).all()


@pytest.mark.parametrize("vocabulary", [v for v in VOCABULARIES if v > MOST_WHOLE])
def test_a_row_without_a_sum_gets_a_place_near_the_vocabulary(vocabulary: int) -> None:
    """Whoever reads the step's result drops such a row; until then its place must be one."""
    weight = np.full((2, vocabulary), np.nan, np.float32)
    weight[1] = 0
    place = draw(vocabulary)(weight, np.full(2, MOST))
    assert (place >= 0).all()
    assert (place <= blocks_of(vocabulary) * BLOCK).all()
