"""Steps of a cell on trial: texts alone and together, and how far two results are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS, NEXT_STATE, SCORES
from cellwire.model_file.trial_texts import wrong_shape

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

CellRun = Callable[[Array, Arrays], Arrays]
"""Runs a step: tokens `[rows]` and states by their names to outputs by theirs; CellFailed."""

_MAX_NUMBERS = 2**24  # of all outputs of a step


class CellFailed(Exception):
    """A step of a cell failed; the message names the node and the reason, and no paths."""


class TrialEnds(Exception):
    """A fault that leaves nothing more to try."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text at one step, read alone."""

    token: int
    state: Arrays  # [1, ...], by the states' names
    outputs: Arrays  # [1, ...], by the outputs' names


class TrialRun:
    """A cell, run and held to the shapes of the contract."""

    def __init__(self, cell: Cell, run: CellRun) -> None:
        self._cell = cell
        self._run = run
        self.shapes = {NEXT_STATE + state.name: state.shape for state in cell.states}
        if cell.generates:
            self.shapes[LOGITS] = (cell.manifest.vocabulary.size,)
        if cell.labels:
            self.shapes[SCORES] = (len(cell.labels),)
        numbers = sum(math.prod(shape) for shape in self.shapes.values())
        self.max_rows = max(1, _MAX_NUMBERS // numbers)  # so that no trial needs much memory

    def step(self, tokens: Iterable[int], states: Arrays) -> Arrays:
        """Run a step; CellFailed, or TrialEnds if an output has a wrong shape."""
        token = np.array([*tokens], np.int64)
        outputs = self._run(token, states)
        for name, shape in self.shapes.items():
            if outputs[name].shape != (len(token), *shape):
                raise TrialEnds(wrong_shape(name, outputs[name].shape, (len(token), *shape)))
        return outputs

    def zeros(self, rows: int) -> Arrays:
        """Return the states of new texts."""
        return {s.name: np.zeros((rows, *s.shape), np.float32) for s in self._cell.states}

    def together(self, rows: Sequence[Row], factors: Sequence[float] | None = None) -> Arrays:
        """Run rows as one batch, each state times a factor; CellFailed, TrialEnds."""
        scales = [np.float32(factor) for factor in factors or [1.0] * len(rows)]
        states = {
            s.name: np.concatenate(
                [row.state[s.name] * scale for row, scale in zip(rows, scales, strict=True)]
            )
            for s in self._cell.states
        }
        return self.step([row.token for row in rows], states)

    def changes(self, row: Row, token: int, state: Arrays) -> bool:
        """Whether another token or state gives other outputs than the row's."""
        try:
            outputs = self.step([token], state)
        except CellFailed:  # it cannot read that, so it reads it
            return True
        return any(difference(row.outputs[name], outputs[name]) for name in self.shapes)

    def not_finite(self, outputs: Arrays) -> tuple[str, int] | None:
        """Return an output that is not finite, and its first such row."""
        for name in self.shapes:
            finite = np.isfinite(outputs[name]).reshape(len(outputs[name]), -1).all(axis=1)
            if not finite.all():
                return name, int(finite.argmin())
        return None


def next_state(outputs: Arrays) -> Arrays:
    """Return the states after a step, by the states' names."""
    return {
        name.removeprefix(NEXT_STATE): array
        for name, array in outputs.items()
        if name.startswith(NEXT_STATE)
    }


def difference(one: Array, other: Array) -> float:
    """Return 0 for the same bits, or the greatest difference as a share of the greatest value.

    The share is of 1 if no value is greater.
    """
    if one.tobytes() == other.tobytes():
        return 0.0
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return math.inf
    with np.errstate(all="ignore"):
        apart = np.abs(one.astype(np.float64) - other)[one != other]
    scale = max(1.0, float(np.abs(one[np.isfinite(one)]).max(initial=0.0)))
    greatest = float(apart[~np.isnan(apart)].max(initial=0.0))
    return greatest / scale or float(np.finfo(np.float32).tiny)  # 0 and -0 have other bits
