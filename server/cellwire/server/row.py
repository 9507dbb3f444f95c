"""What an operation puts into a step, and what it gets out: one row of the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cellwire.server.sampling import Sampling, uniforms
from cellwire.server.step import SAMPLED, Shaping, StepBatch, StepResult

_AS_IT_IS = Sampling()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the next step."""

    token: int
    read_slot: int
    write_slot: int
    forced: int = SAMPLED
    sampling: Sampling = _AS_IT_IS
    key: int = 0  # of the generator a sampled token is drawn from
    position: int = 0  # in that generator's numbers
    recent: Sequence[int] = ()  # tokens that the repetition penalty applies to
    best: int = 0  # how many of the likeliest tokens to report


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row."""

    token: int
    log_probability: float
    best: tuple[tuple[int, float], ...]  # tokens and log-probabilities, the likeliest first
    scores: tuple[float, ...]  # of each label

    @property
    def broken(self) -> bool:
        """Whether the model's output was not a number."""
        return math.isnan(self.log_probability) or any(map(math.isnan, self.scores))


def batch_of(rows: Sequence[Row]) -> StepBatch:
    """Return the batch of one step, in the order of the rows."""
    return StepBatch(
        token=np.array([row.token for row in rows], np.int64),
        read_slot=np.array([row.read_slot for row in rows], np.int64),
        write_slot=np.array([row.write_slot for row in rows], np.int64),
        forced=np.array([row.forced for row in rows], np.int64),
        inverse_temperature=np.array(
            [row.sampling.inverse_temperature for row in rows], np.float32
        ),
        uniform=np.where(
            [row.sampling.greedy for row in rows],
            np.float32(0),
            uniforms(
                np.array([row.key for row in rows], np.uint64),
                np.array([row.position for row in rows], np.uint64),
            ),
        ),
        top_k=np.array([row.sampling.top_k for row in rows], np.int64),
        best=max(row.best for row in rows),
        shaping=None if all(row.sampling.plain for row in rows) else _shaping(rows),
    )


def _shaping(rows: Sequence[Row]) -> Shaping:
    changes = [
        (index, token, penalty, bias)
        for index, row in enumerate(rows)
        for token, penalty, bias in _changes(row)
    ]
    row, token, penalty, bias = zip(*changes, strict=True) if changes else ((), (), (), ())
    with np.errstate(divide="ignore"):  # a min_p of 0 is to become -inf
        log_min_p = np.log(np.array([row.sampling.min_p for row in rows], np.float32))
    return Shaping(
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


def outcomes_of(rows: Sequence[Row], result: StepResult) -> list[Outcome]:
    """Return what came of each row, with the likeliest tokens only for those that asked."""
    chosen, log_probability = result.chosen.tolist(), result.log_probability.tolist()
    scores = [()] * len(rows) if result.scores is None else map(tuple, result.scores.tolist())
    if any(row.best for row in rows):
        tokens, logs = result.best_token.tolist(), result.best_log_probability.tolist()
        best = [
            tuple(zip(t[: row.best], p[: row.best], strict=True))
            for row, t, p in zip(rows, tokens, logs, strict=True)
        ]
    else:
        best = [()] * len(rows)
    return [
        Outcome(*outcome) for outcome in zip(chosen, log_probability, best, scores, strict=True)
    ]
