"""The samplers' draws, against numpy; and one variant's draws against another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.server.program_runs import (
    ROWS,
    STATES,
    Runtimes,
    adjustments_of,
    batch_of,
    first_logits,
    one_step,
    reset,
    rows_of,
    softmax,
)
from tests.server.tiny_cell import SYMBOLS

from cellwire.server.batch.step import LogitAdjustments
from cellwire.server.runtime.runtime import Runtime


def test_sampling_inverts_the_distribution(runtime: Runtime, path: Path) -> None:
    rows = 1000
    uniform = (np.arange(rows) + 0.5) / rows
    result = one_step(
        runtime,
        batch_of(rows, uniform=uniform, inverse_temperature=np.full(rows, 1 / 0.7)),
    )
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 0.7)
    counts = np.bincount(result.chosen, minlength=len(SYMBOLS))
    np.testing.assert_allclose(counts / rows, probabilities, atol=2 / rows)


def test_log_probability_is_the_models_own_whatever_the_sampling(
    runtime: Runtime, path: Path
) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = one_step(
        runtime,
        batch_of(
            len(tokens),
            token=tokens,
            uniform=np.linspace(0, 0.999, len(tokens)),
            inverse_temperature=np.linspace(0.1, 9, len(tokens)),
            top_k=tokens % 5,
        ),
    )
    expected = np.log(softmax(first_logits(path, tokens)))[tokens, result.chosen]
    np.testing.assert_allclose(result.log_probability, expected, atol=1e-5)


def test_greedy_takes_the_likeliest(runtime: Runtime, path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = one_step(
        runtime,
        batch_of(
            len(tokens),
            token=tokens,
            top_k=np.ones(len(tokens)),
            uniform=np.full(len(tokens), 1 - 2**-23),
        ),
    )
    assert (result.chosen == first_logits(path, tokens).argmax(axis=1)).all()


@pytest.mark.parametrize("top_k", [1, 2, 5, len(SYMBOLS), 4_000_000_000])
def test_top_k_draws_from_the_likeliest_only(runtime: Runtime, path: Path, top_k: int) -> None:
    rows = 400
    uniform = np.arange(rows) / rows
    result = one_step(
        runtime,
        batch_of(rows, uniform=uniform, top_k=np.full(rows, top_k)),
    )
    logits = first_logits(path, np.zeros(1, np.int64))[0]
    allowed = set(np.argsort(-logits)[: min(top_k, len(SYMBOLS))].tolist())
    assert set(result.chosen.tolist()) <= allowed
    if top_k <= 5:
        assert set(result.chosen.tolist()) == allowed


def test_a_uniform_just_below_one_never_falls_off_the_end(runtime: Runtime, path: Path) -> None:
    rows = 4 * len(SYMBOLS)
    tokens = np.arange(rows) % len(SYMBOLS)
    result = one_step(
        runtime,
        batch_of(
            rows,
            token=tokens,
            uniform=np.full(rows, 1 - 2**-23),
            top_k=np.arange(rows) % 4,
            inverse_temperature=np.linspace(0.01, 50, rows),
        ),
    )
    assert (result.chosen < len(SYMBOLS)).all()
    order = np.argsort(np.argsort(-first_logits(path, tokens), axis=1), axis=1)
    ranks = order[np.arange(rows), result.chosen]
    limits = np.where(np.arange(rows) % 4, np.arange(rows) % 4, len(SYMBOLS))
    assert (ranks < limits).all()


def drawn(
    runtime: Runtime,
    adjustments: LogitAdjustments,
    temperature: float = 1.0,
    top_k: int = 0,
) -> np.ndarray:
    """The share of each symbol in many draws after token 0, [symbols]."""
    uniform = (np.arange(ROWS) + 0.5) / ROWS
    inverse = np.full(ROWS, 1 / temperature)
    batch = batch_of(ROWS, uniform=uniform, inverse_temperature=inverse, top_k=np.full(ROWS, top_k))
    result = one_step(runtime, replace(batch, adjustments=adjustments))
    return np.bincount(result.chosen, minlength=len(SYMBOLS)) / ROWS


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.7, 0.99])
def test_top_p_keeps_the_likeliest_that_have_it_together(
    runtime: Runtime, path: Path, top_p: float
) -> None:
    share = drawn(runtime, adjustments_of(ROWS, top_p=np.full(ROWS, top_p)), temperature=2)
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 2)
    order = np.argsort(-probabilities)
    before = np.concatenate([[0], np.cumsum(probabilities[order])[:-1]])
    kept = order[before < top_p]
    expected = np.zeros(len(SYMBOLS))
    expected[kept] = probabilities[kept] / probabilities[kept].sum()
    np.testing.assert_allclose(share, expected, atol=2 / ROWS)


@pytest.mark.parametrize("min_p", [0.01, 0.3, 1.0])
def test_min_p_keeps_what_has_its_share_of_the_likeliest(
    runtime: Runtime, path: Path, min_p: float
) -> None:
    share = drawn(runtime, adjustments_of(ROWS, min_p=np.full(ROWS, min_p)), temperature=2)
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 2)
    kept = probabilities >= min_p * probabilities.max()
    expected = np.where(kept, probabilities, 0) / probabilities[kept].sum()
    np.testing.assert_allclose(share, expected, atol=2 / ROWS)


def test_penalties_and_biases_change_single_logits(runtime: Runtime, path: Path) -> None:
    logits = first_logits(path, np.zeros(1, np.int64))[0].astype(np.float64)
    likely, unlikely = int(logits.argmax()), int(logits.argmin())
    changes = [
        change
        for row in range(ROWS)
        for change in ((row, likely, 3.0, 0.0), (row, unlikely, 2.0, 4.0))
    ]
    logits[likely] /= 3
    logits[unlikely] = logits[unlikely] * 2 + 4
    share = drawn(runtime, adjustments_of(ROWS, changes))
    np.testing.assert_allclose(share, softmax(logits), atol=2 / ROWS)


def test_top_k_is_of_the_changed_logits(runtime: Runtime, path: Path) -> None:
    least = int(first_logits(path, np.zeros(1, np.int64))[0].argmin())
    adjustments = adjustments_of(ROWS, [(row, least, 1.0, 100.0) for row in range(ROWS)])
    assert drawn(runtime, adjustments, temperature=100.0, top_k=1)[least] == 1


def test_a_row_without_adjustments_gets_the_same_from_every_variant(runtimes: Runtimes) -> None:
    random = np.random.default_rng(3)
    batch = batch_of(
        32,
        token=random.integers(0, len(SYMBOLS), 32),
        write_slot=np.arange(2, 34),
        uniform=random.integers(0, 2**23, 32) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, 32),
        top_k=random.integers(0, 6, 32),
    )
    adjustments = adjustments_of(
        32, [(1, 5, 2.0, 1.0)], top_p=np.where(np.arange(32) == 2, 0.5, 1), min_p=np.arange(32) == 3
    )
    plain, adjusted = runtimes
    one, other = one_step(plain, batch), one_step(adjusted, replace(batch, adjustments=adjustments))
    unadjusted = np.flatnonzero(~np.isin(np.arange(32), [1, 2, 3]))
    assert (one.chosen == other.chosen)[unadjusted].all()
    assert (one.log_probability == other.log_probability)[unadjusted].all()
    for name in STATES:
        assert (plain.state(name) == adjusted.state(name)).all()
    for row in (1, 2, 3):  # and an adjusted row gets the same in company as alone
        alone = adjustments_of(
            1,
            [(0, 5, 2.0, 1.0)] if row == 1 else [],
            top_p=[0.5 if row == 2 else 1.0],
            min_p=[float(row == 3)],
        )
        reset(plain)
        single = one_step(plain, replace(rows_of(batch, np.array([row])), adjustments=alone))
        assert single.chosen[0] == other.chosen[row]
        assert single.log_probability[0] == other.log_probability[row]


@pytest.mark.parametrize("best", [1, 3, 20, len(SYMBOLS), 500])
def test_the_likeliest_tokens_come_with_their_log_probabilities(
    runtime: Runtime, path: Path, best: int
) -> None:
    tokens = np.arange(6)
    result = one_step(
        runtime,
        replace(batch_of(6, token=tokens), top_token_count=best),
    )
    logs = np.log(softmax(first_logits(path, tokens)))
    order = np.argsort(-logs, axis=1, kind="stable")[:, : result.top_token.shape[1]]
    assert result.top_token.shape[1] >= min(best, len(SYMBOLS))
    assert (result.top_token == order).all()
    expected = np.take_along_axis(logs, order, axis=1)
    np.testing.assert_allclose(result.top_log_probability, expected, atol=1e-5)
