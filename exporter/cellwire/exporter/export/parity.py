"""The proof that an exported cell computes what the trained model does.

Both run in float32 from zero states through the same text, which the model itself makes up (random
symbols, if it only classifies), and each carries its own state, so that an error that grows from
step to step shows. The difference of a tensor is the greatest of its elements' differences, in
units of the tensor's greatest value where that is above 1: a trained cell state can count to 200,
where neighbouring float32 numbers are 1.5e-5 apart.

At most 1e-5 is allowed. Some models amplify rounding so much that torch in float32 is further than
that from torch in float64; such a model can only be held to a few times torch's own error.
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

from cellwire.exporter.network.cells import STATES, State
from cellwire.exporter.network.network import Network

STEPS = 200
BATCHES = (1, 2, 33)
LOSS_TEXTS = 64
LIMIT = 1e-5
LIMIT_IN_ROUNDINGS = 4

# logits [batch, vocabulary] or scores [batch, labels], and states [batch, hidden], as the cell
# names them.
Outputs = dict[str, npt.NDArray[np.floating[Any]]]
Tokens = npt.NDArray[np.int64]  # [steps, batch]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far apart a cell and its model ever were; NaN if one of them was."""

    error: float  # the cell from torch, both in float32
    rounding: float  # torch in float32 from torch in float64

    @property
    def holds(self) -> bool:
        """Whether the cell may be served in the model's place."""
        return self.error <= max(LIMIT, LIMIT_IN_ROUNDINGS * self.rounding)


def measure_parity(cell: onnx.ModelProto, model: Network) -> Parity:
    """Compare the cell with the model over 200 steps, in batches of 1, 2 and 33."""
    exact = copy.deepcopy(model).double()
    tokens = _made_up_text(model, sum(BATCHES), np.random.default_rng(0))
    parts = np.split(tokens, np.cumsum(BATCHES)[:-1], axis=1)
    errors, roundings = [], []
    for expected, true, *found in zip(
        _torch_steps(model, tokens),
        _torch_steps(exact, tokens),
        *(_cell_steps(cell, part) for part in parts),
        strict=True,
    ):
        whole = {name: np.concatenate([part[name] for part in found]) for name in expected}
        errors.append(_difference(whole, expected))
        roundings.append(_difference(expected, true))
    # np.max, unlike max, lets a NaN through.
    return Parity(float(np.max(errors)), float(np.max(roundings)))


@dataclass(frozen=True, slots=True)
class Rounding:
    """What it costs a cell that its weights are rounded; NaN if its outputs are no numbers."""

    error: float  # the cell from torch in float32, as of Parity
    loss_bits: float  # a character; a text, if the cell classifies


def measure_rounding(cell: onnx.ModelProto, model: Network) -> Rounding:
    """Compare a cell of rounded weights with the model.

    The loss is the mean Kullback-Leibler divergence of the cell's distribution from the model's. Of
    the next symbol, that is what the cell would need more of to write down a text that the model
    makes up. Of labels, every beginning of a text counts as a text.
    """
    tokens = _made_up_text(model, LOSS_TEXTS, np.random.default_rng(1))
    errors, losses = [], []
    with np.errstate(invalid="ignore"):  # infinite logits come out as NaN, which is told
        for found, expected in zip(
            _cell_steps(cell, tokens), _torch_steps(model, tokens), strict=True
        ):
            its, theirs = _log_probabilities(found), _log_probabilities(expected)
            errors.append(_difference(found, expected))
            losses.append((np.exp(theirs) * (theirs - its)).sum(axis=1).mean())
    return Rounding(float(np.max(errors)), float(np.mean(losses)) / math.log(2))


def _log_probabilities(outputs: Outputs) -> npt.NDArray[np.float64]:
    """Return those of symbols or of labels."""
    result: npt.NDArray[np.float64]
    if "scores" in outputs:
        scores = np.maximum(outputs["scores"].astype(np.float64), np.finfo(np.float32).tiny)
        result = np.log(scores / scores.sum(axis=1, keepdims=True))  # float32's add up to about 1
    else:
        logits = outputs["logits"].astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        result = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _made_up_text(model: Network, batch: int, random: np.random.Generator) -> Tokens:
    """Sample `batch` texts of 200 symbols from the model, if it writes."""
    if model.shape.labels:
        return random.integers(model.shape.vocabulary, size=(STEPS, batch))
    symbols = random.integers(model.shape.vocabulary, size=batch)
    state: State | None = None
    rows = []
    for _ in range(STEPS):
        rows.append(symbols)
        with torch.no_grad():
            logits, state = model(torch.from_numpy(symbols)[:, None], state)
        # The greatest of logits with Gumbel noise is a sample of their softmax.
        symbols = (logits[:, 0].numpy() + random.gumbel(size=logits[:, 0].shape)).argmax(axis=1)
    return np.stack(rows)


def _difference(found: Outputs, expected: Outputs) -> float:
    """Return the greatest difference of any output."""
    return float(
        np.max(
            [
                np.abs(found[name] - value).max() / max(1.0, np.abs(value).max())
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
    """Yield the model's outputs after every step, named as the cell names them."""
    state: State | None = None
    for row in tokens:
        with torch.no_grad():
            answers, state = model(torch.from_numpy(row)[:, None], state)
            if model.shape.labels:
                answers = answers.softmax(dim=2)
        yield {
            "scores" if model.shape.labels else "logits": answers[:, 0].numpy(),
            **{
                f"next_state.{part}{layer}": rows.numpy()
                for part, tensor in zip(STATES[model.shape.cell], state, strict=True)
                for layer, rows in enumerate(tensor)
            },
        }
