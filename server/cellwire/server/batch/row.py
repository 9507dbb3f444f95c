"""A session's row of a step batch, and its result.

Both are tuples, which are cheap: every session has one of each in every run.
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

_UNCHANGED = Sampling()


class Row(NamedTuple):
    """One session's part of a run: a row of the batch."""

    token: int  # read by the first step
    read_slot: int  # of the state before the first step
    write_slot: int  # for the state after the last step
    steps: int = 1
    forced: Sequence[int] = ()  # the next token after each step; empty: all are sampled
    sampling: Sampling = _UNCHANGED
    key: int = 0  # of the generator for sampled tokens
    position: int = 0  # in the generator's numbers, of the first sampled token
    recent: Sequence[int] = ()  # tokens that the repetition penalty applies to
    top_token_count: int = 0  # top tokens to report, in a run of one step


class RowResult(NamedTuple):
    """The outputs of a row's steps."""

    tokens: list[int]  # [steps], the next token after each step
    log_probabilities: list[float]  # [steps], natural logarithms, of those tokens
    top_tokens: tuple[tuple[int, float], ...]  # and their log-probabilities, the likeliest first
    scores: tuple[float, ...]  # [labels], after the last step
    broken: bool  # whether the model's output had a NaN


def batch_of(rows: Sequence[Row], steps: int) -> StepBatch:
    """Return the step batch of some rows, in their order; no row has more than `steps` steps."""
    token, read_slot, write_slot, count, forced, sampling, key, position, _, top_token_count = zip(
        *rows, strict=True
    )
    if all(forced):  # nothing is drawn, and random numbers cost more than all the rest
        uniform = np.zeros((steps, len(rows)), np.float32)
        inverse_temperature, top_k = uniform[0], np.zeros(len(rows), np.int64)
    else:
        positions = np.add.outer(np.arange(steps, dtype=np.uint64), np.array(position, np.uint64))
        uniform = uniforms(np.array(key, np.uint64), positions)
        inverse_temperature = np.array([s.inverse_temperature for s in sampling], np.float32)
        top_k = np.array([s.effective_top_k for s in sampling], np.int64)
    return StepBatch(
        token=np.array(token, np.int64),
        read_slot=np.array(read_slot, np.int64),
        write_slot=np.array(write_slot, np.int64),
        count=np.array(count, np.int64),
        forced=_forced_column(forced, steps),
        uniform=uniform,
        inverse_temperature=inverse_temperature,
        top_k=top_k,
        top_token_count=max(top_token_count),
        adjustments=None if all(s.plain for s in sampling) else _adjustments(rows),
    )


def _forced_column(forced: Sequence[Sequence[int]], steps: int) -> Int64s:
    """Return rows' forced tokens as `[steps, batch]`: SAMPLED in rows without, 0 after the last."""
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
    with np.errstate(divide="ignore"):  # a min_p of 0 becomes -inf
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
    """Yield token, penalty and bias for each logit that a row changes."""
    sampling = row.sampling
    biases = {bias.token: bias.bias for bias in sampling.logit_bias}
    penalised = frozenset(row.recent) if sampling.repetition_penalty != 1 else frozenset()
    for token in {**biases, **dict.fromkeys(penalised)}:
        penalty = sampling.repetition_penalty if token in penalised else 1.0
        yield token, penalty, biases.get(token, 0.0)


def row_results(rows: Sequence[Row], result: StepResult) -> list[RowResult]:
    """Return each row's result; top tokens only for rows with a top_token_count."""
    tokens, logs = result.chosen.T.tolist(), result.log_probability.T.tolist()
    counts = [row.steps for row in rows]
    return [
        RowResult(row_tokens[:count], row_logs[:count], *rest)
        for row_tokens, row_logs, count, *rest in zip(
            tokens,
            logs,
            counts,
            _top_tokens(rows, result),
            _scores(counts, result.scores),
            _broken(counts, result),
            strict=True,
        )
    ]


def _top_tokens(rows: Sequence[Row], result: StepResult) -> list[tuple[tuple[int, float], ...]]:
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
    """Return which rows have a NaN in any of their steps."""
    is_nan = np.isnan(result.log_probability)
    if result.scores is not None:
        is_nan |= np.isnan(result.scores).any(axis=2)
    if not is_nan.any():
        return [False] * len(counts)
    within = np.arange(len(is_nan))[:, None] < np.array(counts)
    broken: npt.NDArray[np.bool_] = np.logical_or.reduce(is_nan & within, axis=0)
    return [bool(row) for row in broken]
