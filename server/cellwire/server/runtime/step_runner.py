"""Makes a cell's strides on its arenas, of any size: on the CPU, where every row costs.

The arrays of a stride are buffers that every stride fills again, from their beginning; for each
size of stride there is a binding to so much of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.batch.step import MAX_STEPS, SAMPLED, LogitAdjustments, StepBatch, StepResult
from cellwire.server.programs import program, sampler
from cellwire.server.programs import step_program as names
from cellwire.server.programs.sampler import SamplerVariant
from cellwire.server.runtime.compiled import Array, Binding, Buffer, Compiled
from cellwire.server.runtime.recent import Recent

_KEPT_BINDINGS = 512

# No change at all, for a stride that has none: a graph's input may not be empty.
_NO_CHANGE: dict[str, Array] = {
    sampler.CHANGE_ROW: np.zeros(1, np.int64),
    sampler.CHANGE_TOKEN: np.zeros(1, np.int64),
    sampler.CHANGE_PENALTY: np.ones(1, np.float32),
    sampler.CHANGE_BIAS: np.zeros(1, np.float32),
}

_Key = tuple[SamplerVariant, int, int, int]  # steps, rows, limit


class StepRunner:
    """The programs that make strides, their buffers, and bindings for some sizes of strides."""

    def __init__(
        self,
        compiled: Callable[[SamplerVariant], Compiled],
        arenas: Mapping[str, Buffer],
        cell: Cell,
        max_batch: int,
    ) -> None:
        """`compiled` gives the program for a sampler."""
        self._compiled = compiled
        self._arenas = arenas
        self._cell = cell
        self._columns = {sampler: names.columns_of(cell, sampler) for sampler in SamplerVariant}
        self._vocabulary = vocabulary = cell.manifest.vocabulary.size
        self._labels = labels = len(cell.labels)
        self._bindings = Recent[_Key, Binding](_KEPT_BINDINGS)
        self._steps = np.zeros((), np.int64)
        self._limit = np.ones(1, np.int64)
        self._inputs = {
            column.field: np.zeros(max_batch * (MAX_STEPS if column.each_step else 1), column.dtype)
            for column in names.COLUMNS
        }
        # The outputs: [steps, batch], [batch, limit], ...
        self._chosen = np.zeros(MAX_STEPS * max_batch, np.int64)
        self._log_probability = np.zeros(MAX_STEPS * max_batch, np.float32)
        self._top_token = np.zeros(max_batch * vocabulary, np.int64)
        self._top_log_probability = np.zeros(max_batch * vocabulary, np.float32)
        self._scores = np.zeros(MAX_STEPS * max_batch * labels, np.float32)

    def supported_steps(self, steps: int) -> int:
        """Return the longest stride it makes of no more than so many steps."""
        return steps

    def step(self, batch: StepBatch) -> StepResult:
        """Make a stride; NotCompiled, StepFailed if the runtime refuses."""
        rows, steps = len(batch), batch.steps
        asked, limit = needed(batch, self._cell)
        self._fill(asked, batch, limit)
        binding = self._binding(asked, steps, rows, limit)
        if batch.adjustments is not None:
            _bind_adjustments(binding, batch.adjustments)
        binding.run()
        return self._result(steps, rows, limit if batch.top_token_count else 0)

    def _fill(self, asked: SamplerVariant, batch: StepBatch, limit: int) -> None:
        """Put a batch into the inputs of a program."""
        for column in self._columns[asked]:
            values = getattr(batch, column.field)
            self._inputs[column.field][: values.size] = values.reshape(-1)
        if limit:
            top_k = self._inputs["top_k"][: len(batch)]
            np.minimum(top_k, self._vocabulary, out=top_k)
            self._limit[0] = limit
        self._steps[()] = batch.steps

    def _result(self, steps: int, rows: int, best: int) -> StepResult:
        """Return copies of what the last stride put into the buffers."""
        scores = self._scores[: steps * rows * self._labels]
        return StepResult(
            self._chosen[: steps * rows].reshape(steps, rows).copy(),
            self._log_probability[: steps * rows].reshape(steps, rows).copy(),
            self._top_token[: rows * best].reshape(rows, best).copy(),
            self._top_log_probability[: rows * best].reshape(rows, best).copy(),
            scores.reshape(steps, rows, self._labels).copy() if self._labels else None,
        )

    def _binding(self, *key: *_Key) -> Binding:
        """Return the binding for a size of stride, made on first use."""
        if key not in self._bindings:
            self._bindings[key] = self._bind(*key)
        return self._bindings[key]

    def _bind(self, asked: SamplerVariant, steps: int, rows: int, limit: int) -> Binding:
        binding = Binding(self._compiled(asked))
        binding.move(self._arenas)
        binding.input(program.STEPS, self._steps)
        for column in self._columns[asked]:
            shape = (rows,) if column.flat else (rows, 1)
            shape = (steps, *shape) if column.each_step else shape
            binding.input(column.name, self._inputs[column.field], shape)
        each = (steps, rows, 1)
        binding.output(names.CHOSEN, self._chosen, each)
        binding.output(names.LOG_PROBABILITY, self._log_probability, each)
        if limit:
            binding.input(sampler.LIMIT, self._limit)
        if asked.reports_top_tokens and steps == 1:  # nobody asks for them in longer strides
            best, logs = (1, rows, limit), self._top_log_probability
            binding.output(names.TOP_TOKEN, self._top_token, best)
            binding.output(names.TOP_LOG_PROBABILITY, logs, best)
        if self._labels:
            binding.output(names.ALL_SCORES, self._scores, (steps, rows, self._labels))
        return binding


def needed(batch: StepBatch, cell: Cell) -> tuple[SamplerVariant, int]:
    """Return what sampler a batch needs, and how many of the likeliest tokens it must rank.

    That number is a power of two, so that there are few different ones.
    """
    if not cell.writes:
        return SamplerVariant.PLAIN, 0
    vocabulary = cell.manifest.vocabulary.size
    most = max(min(int(batch.top_k.max()), vocabulary), batch.top_token_count)
    if batch.adjustments is not None and (batch.adjustments.top_p < 1).any():
        most = vocabulary
    limit = min(vocabulary, 1 << max(0, most - 1).bit_length())
    if batch.adjustments is not None:
        return SamplerVariant.ADJUSTED, limit
    sampled = (batch.forced == SAMPLED).any(axis=0)  # [batch]
    if not sampled.any():
        return SamplerVariant.FORCED, 0
    if most == 0:
        return SamplerVariant.PLAIN, 0
    if batch.top_token_count or (sampled & (batch.top_k == 0)).any():
        return SamplerVariant.RANKING, limit
    return SamplerVariant.TOP_K, limit


def _bind_adjustments(binding: Binding, adjustments: LogitAdjustments) -> None:
    """Bind the columns of one stride only: their lengths differ from one to the next."""
    changes: dict[str, Array] = {
        sampler.CHANGE_ROW: adjustments.row,
        sampler.CHANGE_TOKEN: adjustments.token,
        sampler.CHANGE_PENALTY: adjustments.penalty,
        sampler.CHANGE_BIAS: adjustments.bias,
    }
    for name, column in (changes if adjustments.row.size else _NO_CHANGE).items():
        binding.input(name, column)
    rows = (len(adjustments.top_p), 1)
    binding.input(sampler.TOP_P, adjustments.top_p, rows)
    binding.input(sampler.LOG_MIN_P, adjustments.log_min_p, rows)
