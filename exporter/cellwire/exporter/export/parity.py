"""Numerical comparison of an exported cell with the trained model.

Both run in float32 from zero states over the same text, which the model samples (random symbols, if
it is a classifier). Each carries its own state, so that errors that accumulate show. The difference
of a tensor is the largest of its elements' differences, divided by the tensor's largest absolute
value where that is above 1: a trained cell state can count to 200, where neighbouring float32
numbers are 1.5e-5 apart.

The limit is 1e-5. Some models amplify rounding so much that torch in float32 is further than that
from torch in float64; the limit for these is a multiple of torch's own error.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from cellwire.exporter.network.cell import State
from cellwire.exporter.network.kinds import cell_kind
from cellwire.exporter.network.network import Network

STEPS = 200
BATCHES = (1, 2, 33)
ROUNDING_TEXTS = 64
LIMIT = 1e-5
FLOAT32_ERROR_FACTOR = 4

Outputs = dict[str, npt.NDArray[np.floating[Any]]]
"""One step's outputs by name: logits or scores `[batch, n]`, states `[batch, hidden]`."""

Tokens = npt.NDArray[np.int64]
"""Texts as tokens `[steps, batch]`."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences over all steps; NaN if an output was NaN."""

    error: float  # of the cell from torch, both in float32
    float32_error: float  # of torch in float32 from torch in float64

    @property
    def holds(self) -> bool:
        """Whether the cell may be served in the model's place."""
        return self.error <= max(LIMIT, FLOAT32_ERROR_FACTOR * self.float32_error)


def measure_parity(cell: onnx.ModelProto, model: Network) -> Parity:
    """Compare the cell with the model over 200 steps, in batches of 1, 2 and 33."""
    model_float64 = copy.deepcopy(model).double()
    tokens = _sample_texts(model, sum(BATCHES), np.random.default_rng(0))
    parts = np.split(tokens, np.cumsum(BATCHES)[:-1], axis=1)
    errors, float32_errors = [], []
    for in_float32, in_float64, *cell_outputs in zip(
        _torch_steps(model, tokens),
        _torch_steps(model_float64, tokens),
        *(_cell_steps(cell, part) for part in parts),
        strict=True,
    ):
        joined = {
            name: np.concatenate([part[name] for part in cell_outputs]) for name in in_float32
        }
        errors.append(_difference(joined, in_float32))
        float32_errors.append(_difference(in_float32, in_float64))
    # np.max, unlike max, propagates NaN.
    return Parity(float(np.max(errors)), float(np.max(float32_errors)))


@dataclass(frozen=True, slots=True)
class Rounding:
    """The cost of rounded weights; NaN if an output is not finite."""

    error: float  # of the cell from torch in float32, as in Parity
    loss_bits: float  # per symbol; per text, if the cell is a classifier


def measure_rounding(cell: onnx.ModelProto, model: Network) -> Rounding:
    """Compare a cell of rounded weights with the model.

    The loss is the mean Kullback-Leibler divergence of the cell's distribution from the model's:
    the extra bits that the cell needs to encode a text that the model samples. Of a classifier,
    every prefix of a text counts as a text.
    """
    tokens = _sample_texts(model, ROUNDING_TEXTS, np.random.default_rng(1))
    errors, losses = [], []
    with np.errstate(invalid="ignore"):  # infinite logits become NaN, which the result reports
        for rounded, exact in zip(
            _cell_steps(cell, tokens), _torch_steps(model, tokens), strict=True
        ):
            logs, exact_logs = _log_probabilities(rounded), _log_probabilities(exact)
            errors.append(_difference(rounded, exact))
            losses.append((np.exp(exact_logs) * (exact_logs - logs)).sum(axis=1).mean())
    return Rounding(float(np.max(errors)), float(np.mean(losses)) / math.log(2))


def _log_probabilities(outputs: Outputs) -> npt.NDArray[np.float64]:
    """Return the log-probabilities of symbols or labels, `[batch, n]`."""
    result: npt.NDArray[np.float64]
    if "scores" in outputs:
        scores = np.maximum(outputs["scores"].astype(np.float64), np.finfo(np.float32).tiny)
        result = np.log(scores / scores.sum(axis=1, keepdims=True))  # float32's sum is not quite 1
    else:
        logits = outputs["logits"].astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        result = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _sample_texts(model: Network, batch: int, random: np.random.Generator) -> Tokens:
    """Sample texts of 200 tokens from the model, or at random if it is a classifier."""
    if model.shape.labels:
        return random.integers(model.shape.vocabulary, size=(STEPS, batch))
    tokens = random.integers(model.shape.vocabulary, size=batch)
    state: State | None = None
    rows = []
    for _ in range(STEPS):
        rows.append(tokens)
        with torch.no_grad():
            logits, state = model(torch.from_numpy(tokens)[:, None], state)
        # The argmax of logits with Gumbel noise is a sample of their softmax.
        tokens = (logits[:, 0].numpy() + random.gumbel(size=logits[:, 0].shape)).argmax(axis=1)
    return np.stack(rows)


def _difference(outputs: Outputs, expected: Outputs) -> float:
    """Return the largest difference over all outputs."""
    return float(
        np.max(
            [
                np.abs(outputs[name] - value).max() / max(1.0, np.abs(value).max())
                for name, value in expected.items()
            ]
        )
    )


def _cell_steps(cell: onnx.ModelProto, tokens: Tokens) -> Iterator[Outputs]:
    """Yield the cell's outputs after every step."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        cell.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    states = {
        value.name: np.zeros((tokens.shape[1], value.shape[1]), np.float32)
        for value in session.get_inputs()
        if value.name != "token"
    }
    for row in tokens:
        outputs = dict(zip(names, session.run(None, {"token": row, **states}), strict=True))
        yield outputs
        states = {name: outputs[f"next_{name}"] for name in states}


def _torch_steps(model: Network, tokens: Tokens) -> Iterator[Outputs]:
    """Yield the model's outputs after every step, by the cell's names."""
    state_names = cell_kind(model.shape.cell).state_names
    state: State | None = None
    for row in tokens:
        with torch.no_grad():
            answers, state = model(torch.from_numpy(row)[:, None], state)
            if model.shape.labels:
                answers = answers.softmax(dim=2)
        yield {
            "scores" if model.shape.labels else "logits": answers[:, 0].numpy(),
            **{
                f"next_state.{name}{layer}": rows.numpy()
                for name, tensor in zip(state_names, state, strict=True)
                for layer, rows in enumerate(tensor)
            },
        }
