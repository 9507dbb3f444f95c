"""Runs step batches of any size: on the CPU, where every row costs.

All sizes share arrays: each size is bound to the beginning of arrays that fit the largest so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from cachetools import LRUCache

from cellwire.model_file.cell import Cell
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import FinishedRun
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Array
from cellwire.server.runtime.required_sampler import power_of_two, required_sampler
from cellwire.server.runtime.step_binding import Allocate, StepBinding, StepPrograms, StepSize

_MAX_BINDINGS = 512


class StepRunner:
    """The step programs with a loop, and bindings for the sizes that were used last."""

    overlaps = False

    def __init__(self, compiled: StepPrograms, arenas: Mapping[str, Buffer], cell: Cell) -> None:
        """`compiled` returns a program with a loop; NotCompiled."""
        self._compiled = compiled
        self._arenas = arenas
        self._cell = cell
        # Not a method of the runner, which the bindings would hold, and it them.
        self._allocate: Allocate = _SharedArrays().allocate
        self._bindings = LRUCache[StepSize, StepBinding](_MAX_BINDINGS)

    def padded_rows(self, rows: int) -> int:
        """Return `rows`: a batch is not padded."""
        return rows

    def supported_steps(self, steps: int) -> int:
        """Return `steps`: a run may have any number of them."""
        return steps

    def step(self, batch: StepBatch) -> StepResult:
        """Run a batch; NotCompiled, StepFailed."""
        return self.binding(self.size_of(batch)).step(batch)

    def start(self, batch: StepBatch) -> FinishedRun[StepResult]:
        """Run a batch; NotCompiled, StepFailed."""
        return FinishedRun(self.step(batch))

    def size_of(self, batch: StepBatch) -> StepSize:
        """Return the batch's own size, with the number of logit changes rounded up."""
        variant, limit = required_sampler(batch, self._cell)
        adjustments = batch.adjustments
        changes = 0 if adjustments is None else power_of_two(len(adjustments.row))
        return StepSize(variant, batch.steps, len(batch), limit, changes, batch.ragged)

    def binding(self, size: StepSize) -> StepBinding:
        """Return the binding for a size, made on first use; NotCompiled."""
        try:
            return self._bindings[size]
        except KeyError:
            binding = self._bindings[size] = self._bind(size)
            return binding

    def _bind(self, size: StepSize) -> StepBinding:
        compiled = self._compiled(size.variant, ragged=size.ragged)
        try:
            return StepBinding(
                compiled, self._arenas, self._cell, size, self._allocate, packed=False
            )
        except (MemoryError, StepFailed) as error:
            raise NotCompiled(f"no room for {size.rows} rows: {error}") from error

    def close(self) -> None:
        """Close all bindings. No batch can be run then."""
        for binding in self._bindings.values():
            binding.close()
        self._bindings.clear()


class _SharedArrays:
    """An array for each name, which fits the largest binding so far."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}  # flat

    def allocate(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> Buffer:
        """Return the beginning of an array, or of a larger one for this and later bindings."""
        length = prod(shape)
        shared = self._arrays.get(name)
        if shared is None or shared.size < length:
            shared = self._arrays[name] = np.zeros(power_of_two(length), dtype)
        return Buffer(shared[:length].reshape(shape))
