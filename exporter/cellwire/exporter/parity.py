"""The proof that an exported cell computes what the trained model does.

Both run in float32 from zero states through the same text, which the model itself makes up, and
each carries its own state, so that an error that grows from step to step shows. The difference of a
tensor is the greatest of its elements' differences, in units of the tensor's greatest value where
that is above 1: a trained cell state can count to 200, where neighbouring float32 numbers are
1.5e-5 apart.

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

from cellwire.exporter.cells import CharacterLstm, LstmState

STEPS = 200
BATCHES = (1, 2, 33)
LOSS_TEXTS = 64
LIMIT = 1e-5
LIMIT_IN_ROUNDINGS = 4

Outputs = dict[
    str, npt.NDArray[np.floating[Any]]
]  # logits [batch, vocabulary], states [batch, hidden]
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


def measure_parity(cell: onnx.ModelProto, model: CharacterLstm) -> Parity:
    """Compare the cell with the model over 200 steps, in batches of 1, 2 and 33."""
    exact = copy.deepcopy(model).double()
    random = np.random.default_rng(0)
    errors, roundings = [], []
    for batch in BATCHES:
        tokens = _made_up_text(model, batch, random)
        steps = (
            _cell_steps(cell, tokens),
            _torch_steps(model, tokens),
            _torch_steps(exact, tokens),
        )
        for found, expected, true in zip(*steps, strict=True):
            errors.append(_difference(found, expected))
            roundings.append(_difference(expected, true))
    # np.max, unlike max, lets a NaN through.
    return Parity(float(np.max(errors)), float(np.max(roundings)))


def measure_loss(cell: onnx.ModelProto, model: CharacterLstm) -> float:
    """Return what a cell that rounds costs, in bits per character of text the model makes up.

    That is the mean Kullback-Leibler divergence of the cell's distribution from the model's: what
    the cell would need more of to write down such a text. NaN if the cell's output is.
    """
    tokens = _made_up_text(model, LOSS_TEXTS, np.random.default_rng(1))
    losses = []
    for found, expected in zip(_cell_steps(cell, tokens), _torch_steps(model, tokens), strict=True):
        its, theirs = _log_softmax(found["logits"]), _log_softmax(expected["logits"])
        losses.append((np.exp(theirs) * (theirs - its)).sum(axis=1).mean())
    return float(np.mean(losses)) / math.log(2)


def _log_softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _made_up_text(model: CharacterLstm, batch: int, random: np.random.Generator) -> Tokens:
    """Sample `batch` texts of 200 symbols from the model."""
    symbols = random.integers(model.shape.vocabulary, size=batch)
    state: LstmState | None = None
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


def _torch_steps(model: CharacterLstm, tokens: Tokens) -> Iterator[Outputs]:
    """Yield the model's outputs after every step, named as the cell names them."""
    state: LstmState | None = None
    for row in tokens:
        with torch.no_grad():
            logits, state = model(torch.from_numpy(row)[:, None], state)
        yield {
            "logits": logits[:, 0].numpy(),
            **{
                f"next_state.{part}{layer}": rows.numpy()
                for part, tensor in zip("hc", state, strict=True)
                for layer, rows in enumerate(tensor)
            },
        }
