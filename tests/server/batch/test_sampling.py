"""Random numbers that depend on seed and position alone; checks of sampling parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.batch.sampling import Sampling, generator_key, uniforms
from cellwire.server.errors import InvalidArgument


def keys_of(*seeds: int) -> np.ndarray:
    return np.array([generator_key(seed) for seed in seeds], np.uint64)


def positions_of(*positions: int) -> np.ndarray:
    return np.array(positions, np.uint64)


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    for seed in (0, 1, 2**64 - 1):
        drawn = uniforms(np.repeat(keys_of(seed), 100_000), np.arange(100_000, dtype=np.uint64))
        assert drawn.dtype == np.float32
        assert drawn.min() >= 0
        assert drawn.max() < 1
        counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
        assert abs(counts - 1_000).max() < 6 * math.sqrt(1_000)


def test_neighbouring_seeds_and_positions_are_uncorrelated() -> None:
    positions = np.arange(20_000, dtype=np.uint64)
    one = uniforms(np.repeat(keys_of(41), 20_000), positions)
    other = uniforms(np.repeat(keys_of(42), 20_000), positions)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**40)), min_size=1))
def test_a_rows_number_does_not_depend_on_the_other_rows(rows: list[tuple[int, int]]) -> None:
    together = uniforms(keys_of(*(s for s, _ in rows)), positions_of(*(p for _, p in rows)))
    for (seed, position), drawn in zip(rows, together, strict=True):
        assert uniforms(keys_of(seed), positions_of(position))[0] == drawn


@pytest.mark.parametrize("temperature", [math.nan, math.inf, -math.inf, -0.001, 100.5])
def test_an_invalid_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(InvalidArgument, match="temperature is"):
        Sampling(temperature)


def test_temperature_zero_is_greedy() -> None:
    assert Sampling(0.0).greedy
    assert Sampling(0.0, top_k=40).effective_top_k == 1
    assert Sampling(0.0).inverse_temperature == 1
    assert not Sampling(1e-6).greedy
    assert Sampling(0.5).inverse_temperature == 2


def test_a_seed_gives_the_same_text_in_every_version() -> None:
    assert generator_key(0) == 0xE220A8397B1DCDAF  # SplitMix64's first number of seed 0
    drawn = uniforms(keys_of(0, 1, 2**64 - 1), positions_of(0, 1, 2**40))
    assert (drawn * 2**23).tolist() == [2363585, 3088597, 6085417]
