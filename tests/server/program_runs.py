"""Batches for a small cell's programs, and the expected results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import SAMPLED, LogitAdjustments, StepBatch, StepResult
from cellwire.server.runtime.runtime import Runtime

SLOTS = 40
ROWS = 1_000
HIDDEN = 19  # no multiple of any vector width
STATES = ("h", "c")  # of the LSTM cell

Runtimes = tuple[Runtime, ...]


def batch_of(rows: int, **columns: object) -> StepBatch:
    """Rows that draw one token at temperature 1 from the zero state, but for the given columns."""
    values: dict[str, Any] = {
        "token": np.zeros(rows, np.int64),
        "read_slot": np.full(rows, ZERO, np.int64),
        "write_slot": np.full(rows, TRASH, np.int64),
        "count": np.ones(rows, np.int64),
        "forced": np.full((1, rows), SAMPLED, np.int64),
        "uniform": np.zeros((1, rows), np.float32),
        "inverse_temperature": np.ones(rows, np.float32),
        "top_k": np.zeros(rows, np.int64),
    }
    values |= {name: np.asarray(v, values[name].dtype) for name, v in columns.items()}
    for name in ("forced", "uniform"):
        values[name] = np.atleast_2d(values[name])
    return StepBatch(**values)


def reset(*runtimes: Runtime) -> Runtimes:
    """Set the LSTM's states to zero, as in new runtimes: compiling one takes longer than a test."""
    for runtime in runtimes:
        for name in STATES:
            runtime.state(name)[:] = 0
    return runtimes


def one_step(runtime: Runtime, batch: StepBatch) -> StepResult:
    """The result of a run of one step, without the axis of steps."""
    result = runtime.step(batch)
    assert len(result.chosen) == 1
    return replace(result, chosen=result.chosen[0], log_probability=result.log_probability[0])


def rows_of(batch: StepBatch, places: np.ndarray) -> StepBatch:
    """Some rows of a batch, as a batch."""
    columns = {f.name: getattr(batch, f.name) for f in fields(StepBatch)}
    of_rows = {n: v[..., places] for n, v in columns.items() if isinstance(v, np.ndarray)}
    return StepBatch(**columns | of_rows)


def first_logits(path: Path, tokens: np.ndarray) -> np.ndarray:
    """The bare cell's logits [batch, vocabulary] from the zero state."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    zeros = np.zeros((len(tokens), HIDDEN), np.float32)
    feed = {"token": tokens, "state.h": zeros, "state.c": zeros}
    return np.asarray(session.run(["logits"], feed)[0])


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


Change = tuple[int, int, float, float]  # row, token, penalty, bias


def adjustments_of(
    rows: int, changes: Sequence[Change] = (), **columns: object
) -> LogitAdjustments:
    row, token, penalty, bias = zip(*changes, strict=True) if changes else ((), (), (), ())
    top_p = np.asarray(columns.get("top_p", np.ones(rows)), np.float32)
    with np.errstate(divide="ignore"):
        log_min_p = np.log(np.asarray(columns.get("min_p", np.zeros(rows)), np.float32))
    return LogitAdjustments(
        top_p,
        log_min_p,
        np.array(row, np.int64),
        np.array(token, np.int64),
        np.array(penalty, np.float32),
        np.array(bias, np.float32),
    )
