"""What an operation puts into a stride, and what it gets out: one row of the batch.

Rows and outcomes are tuples: there is one of each for every session in every stride.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cellwire.server.batch.sampling import Sampling, uniforms
from cellwire.server.batch.step import (
    SAMPLED,
    Float32s,
    Int64s,
    LogitAdjustments,
    StepBatch,
    StepResult,
)

_AS_IT_IS = Sampling()


class Row(NamedTuple):
    """One row of the next stride."""

    token: int
    read_slot: int
    write_slot: int
    steps: int = 1
    forced: Sequence[int] = ()  # the tokens after its steps; if there are none, they are sampled
    sampling: Sampling = _AS_IT_IS
    key: int = 0  # of the generator that sampled tokens are drawn from
    position: int = 0  # of the first of them in that generator's numbers
    recent: Sequence[int] = ()  # tokens that the repetition penalty applies to
    top_token_count: int = 0  # how many of the likeliest tokens to report, in a stride of one step


class RowResult(NamedTuple):
    """What came of a row."""

    tokens: list[int]  # one for each step
    log_probabilities: list[float]  # likewise
    top_tokens: tuple[tuple[int, float], ...]  # after its only step, the likeliest first
    scores: tuple[float, ...]  # of each label, after the last step
    broken: bool  # whether the model's output was not a number


def batch_of(rows: Sequence[Row], steps: int) -> StepBatch:
    """Return the batch of a stride of so many steps, in the order of the rows."""
    token, read_slot, write_slot, count, forced, sampling, key, position, _, top_token_count = zip(
        *rows, strict=True
    )
    if all(forced):  # nothing is drawn, and these would cost more than all the rest
        uniform = np.zeros((steps, len(rows)), np.float32)
        inverse_temperature, top_k = uniform[0], np.zeros(len(rows), np.int64)
    else:
        positions = np.add.outer(np.arange(steps, dtype=np.uint64), np.array(position, np.uint64))
        uniform = uniforms(np.array(key, np.uint64), positions)
        inverse_temperature = np.array([s.inverse_temperature for s in sampling], np.float32)
        top_k = np.array([s.ranks for s in sampling], np.int64)
    return StepBatch(
        token=np.array(token, np.int64),
        read_slot=np.array(read_slot, np.int64),
        write_slot=np.array(write_slot, np.int64),
        count=np.array(count, np.int64),
        forced=_columns(forced, steps),
        uniform=uniform,
        inverse_temperature=inverse_temperature,
        top_k=top_k,
        top_token_count=max(top_token_count),
        adjustments=None if all(s.plain for s in sampling) else _adjustments(rows),
    )


def _columns(forced: Sequence[Sequence[int]], steps: int) -> Int64s:
    """Return forced tokens as columns of `[steps, batch]`; 0 where a row has no more of them."""
    columns = np.full((steps, len(forced)), SAMPLED, np.int64)
    for index, tokens in enumerate(forced):
        if len(tokens):
            columns[:, index] = 0
            columns[: len(tokens), index] = tokens
    return columns


def _adjustments(rows: Sequence[Row]) -> LogitAdjustments:
    changes = [
        (index, token, penalty, bias)
        for index, row in enumerate(rows)
        for token, penalty, bias in _changes(row)
    ]
    row, token, penalty, bias = zip(*changes, strict=True) if changes else ((), (), (), ())
    with np.errstate(divide="ignore"):  # a min_p of 0 is to become -inf
        log_min_p = np.log(np.array([row.sampling.min_p for row in rows], np.float32))
    return LogitAdjustments(
        top_p=np.array([row.sampling.top_p for row in rows], np.float32),
        log_min_p=log_min_p,
        row=np.array(row, np.int64),
        token=np.array(token, np.int64),
        penalty=np.array(penalty, np.float32),
        bias=np.array(bias, np.float32),
    )


def _changes(row: Row) -> Iterator[tuple[int, float, float]]:
    """Yield token, penalty and bias for each logit of a row that is changed."""
    sampling = row.sampling
    biases = {bias.token: bias.bias for bias in sampling.logit_bias}
    penalised = frozenset(row.recent) if sampling.repetition_penalty != 1 else frozenset()
    for token in {**biases, **dict.fromkeys(penalised)}:
        penalty = sampling.repetition_penalty if token in penalised else 1.0
        yield token, penalty, biases.get(token, 0.0)


def row_results(rows: Sequence[Row], result: StepResult) -> list[RowResult]:
    """Return what came of each row, with the likeliest tokens only for those that asked."""
    tokens, logs = result.chosen.T.tolist(), result.log_probability.T.tolist()
    counts = [row.steps for row in rows]
    return [
        RowResult(row_tokens[:count], row_logs[:count], *rest)
        for row_tokens, row_logs, count, *rest in zip(
            tokens,
            logs,
            counts,
            _best(rows, result),
            _scores(counts, result.scores),
            _broken(counts, result),
            strict=True,
        )
    ]


def _best(rows: Sequence[Row], result: StepResult) -> list[tuple[tuple[int, float], ...]]:
    if not any(row.top_token_count for row in rows):
        return [()] * len(rows)
    tokens, logs = result.top_token.tolist(), result.top_log_probability.tolist()
    return [
        tuple(zip(t[: row.top_token_count], p[: row.top_token_count], strict=True))
        for row, t, p in zip(rows, tokens, logs, strict=True)
    ]


def _scores(counts: list[int], scores: Float32s | None) -> list[tuple[float, ...]]:
    if scores is None:
        return [()] * len(counts)
    last = scores[np.array(counts) - 1, np.arange(len(counts))]
    return [tuple(row) for row in last.tolist()]


def _broken(counts: list[int], result: StepResult) -> list[bool]:
    spoiled = np.isnan(result.log_probability)
    if result.scores is not None:
        spoiled |= np.isnan(result.scores).any(axis=2)
    if not spoiled.any():
        return [False] * len(counts)
    within = np.arange(len(spoiled))[:, None] < np.array(counts)
    broken: npt.NDArray[np.bool_] = np.logical_or.reduce(spoiled & within, axis=0)
    return [bool(row) for row in broken]
