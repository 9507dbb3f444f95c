"""Makes strides in few sizes, each with arrays of its own that never move.

A batch is filled up with rows that begin with nothing, take no step and write the trash slot. All
numbers of a batch lie in two arrays, so they reach a device in two copies; what comes back are the
chosen tokens and their log-probabilities. No state and no logits leave the device.

A program here has no loop (see `Fixed` in stride_program.py), so that it can be captured as a CUDA
graph; for each length of stride and each number of likeliest tokens there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import LogitAdjustments, StepBatch, StepResult
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.programs import sampler
from cellwire.server.programs import step_program as names
from cellwire.server.programs.sampler import SamplerVariant
from cellwire.server.programs.step_program import Column, ProgramShape, columns_of, rows_of
from cellwire.server.runtime.compiled import Array, Binding, Buffer, Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.step_runner import needed

LENGTHS = (1, 4, 16)  # of strides, in steps

_LIMITS = (0, 1, 16)  # of the likeliest tokens to rank; beyond, all are
_PADDING: dict[str, float] = {"read_slot": ZERO, "write_slot": TRASH, "inverse_temperature": 1.0}

_Size = tuple[SamplerVariant, ProgramShape, int, int]  # rows, changes of single logits


class FixedShapeStepRunner:
    """The programs that make strides, and a set of arrays for each size."""

    def __init__(
        self,
        compiled: Callable[[SamplerVariant, ProgramShape], Compiled],
        arenas: Mapping[str, Buffer],
        cell: Cell,
        execution: Execution,
        max_batch: int,
    ) -> None:
        """`compiled` gives the program for a sampler, and what it is fixed to."""
        self._compiled = compiled
        self._arenas = arenas
        self._cell = cell
        self._execution = execution
        self._only_size = max_batch if execution.fixed_batch else None
        # There are not many: three lengths, three limits, powers of two.
        self._padded: dict[_Size, _Padded] = {}

    def supported_steps(self, steps: int) -> int:
        """Return the longest stride it makes of no more than so many steps."""
        return max(length for length in LENGTHS if length <= steps)

    def step(self, batch: StepBatch) -> StepResult:
        """Make a stride of one of the lengths; NotCompiled, StepFailed if the runtime refuses."""
        asked, limit = needed(batch, self._cell)
        vocabulary = self._cell.manifest.vocabulary.size
        limit = next((each for each in _LIMITS if limit <= each <= vocabulary), vocabulary)
        changes = 0 if batch.adjustments is None else _power_of_two(len(batch.adjustments.row))
        rows = self._only_size or _power_of_two(len(batch))
        padded = self._padded_to((asked, ProgramShape(batch.steps, limit), rows, changes))
        padded.fill(batch)
        padded.run()
        return padded.result(len(batch), best=bool(batch.top_token_count and limit))

    def _padded_to(self, size: _Size) -> _Padded:
        """Return the arrays for a size, made on first use."""
        if size not in self._padded:
            compiled = self._compiled(*size[:2])
            try:
                padded = _Padded(compiled, self._arenas, self._cell, size, self._execution)
            except (MemoryError, StepFailed) as error:  # so far, nothing but the trash is written
                raise NotCompiled(f"no room for {size[2]} rows: {error}") from error
            self._padded[size] = padded
        return self._padded[size]


class _Padded:
    """Arrays for batches of one size, and the binding to them."""

    def __init__(
        self,
        compiled: Compiled,
        arenas: Mapping[str, Buffer],
        cell: Cell,
        size: _Size,
        execution: Execution,
    ) -> None:
        asked, self._fixed, self._rows, changes = size
        self._device = execution.device
        self._columns: dict[str, Array] = {}  # [steps or 1, rows], of each field
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        self._vocabulary = cell.manifest.vocabulary.size
        self.binding = Binding(compiled)
        self.binding.move(arenas)
        columns = columns_of(cell, asked)
        self._pack(names.WHOLE_NUMBERS, [c for c in columns if c.dtype is np.int64], np.int64)
        self._pack(names.NUMBERS, [c for c in columns if c.dtype is np.float32], np.float32)
        if asked is SamplerVariant.ADJUSTED:
            self._add_adjustments(changes)
        self._add_outputs(cell, asked)
        for name, buffer in self._inputs.items():
            self.binding.read(name, buffer)
        for name, buffer in self._outputs.items():
            self.binding.write(name, buffer)
        # What is captured is run more than once meanwhile: so far, all rows only write the trash.
        self._fill_up(0)
        self.run()

    def _pack(self, name: str, columns: list[Column], dtype: type[np.generic]) -> None:
        lengths = rows_of(columns, self._fixed.steps)
        if not lengths:
            return
        buffer = Buffer(np.zeros((sum(lengths), self._rows), dtype), self._device)
        self._inputs[name] = buffer
        for column, length, end in zip(columns, lengths, np.cumsum(lengths), strict=True):
            self._columns[column.field] = buffer.host[end - length : end]

    def _add_adjustments(self, changes: int) -> None:
        """Add the inputs of a sampler that shapes; without any change, there is one of nothing."""
        for name, dtype in (
            (sampler.CHANGE_ROW, np.int64),
            (sampler.CHANGE_TOKEN, np.int64),
            (sampler.CHANGE_PENALTY, np.float32),
            (sampler.CHANGE_BIAS, np.float32),
        ):
            self._inputs[name] = Buffer(np.zeros(changes or 1, dtype), self._device)
        self._inputs[sampler.CHANGE_PENALTY].host[:] = 1
        for name in (sampler.TOP_P, sampler.LOG_MIN_P):
            self._inputs[name] = Buffer(np.zeros((self._rows, 1), np.float32), self._device)

    def _add_outputs(self, cell: Cell, asked: SamplerVariant) -> None:
        steps, rows, limit = self._fixed.steps, self._rows, self._fixed.limit
        self._add_output(names.CHOSEN, (steps, rows, 1), np.int64)
        self._add_output(names.LOG_PROBABILITY, (steps, rows, 1), np.float32)
        if (
            cell.writes and asked.reports_top_tokens and steps == 1
        ):  # nobody asks for them in longer ones
            self._add_output(names.TOP_TOKEN, (1, rows, limit), np.int64)
            self._add_output(names.TOP_LOG_PROBABILITY, (1, rows, limit), np.float32)
        if cell.labels:
            self._add_output(names.ALL_SCORES, (steps, rows, len(cell.labels)), np.float32)

    def _add_output(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self._outputs[name] = Buffer(np.zeros(shape, dtype), self._device)

    def fill(self, batch: StepBatch) -> None:
        """Put a batch into the inputs."""
        rows = len(batch)
        for field, column in self._columns.items():
            column[:, :rows] = getattr(batch, field)
        if self._fixed.limit:
            top_k = self._columns["top_k"]
            np.minimum(top_k, self._vocabulary, out=top_k)
        self._fill_up(rows)
        if batch.adjustments is not None:
            self._fill_adjustments(batch.adjustments)

    def _fill_up(self, rows: int) -> None:
        """Make all rows from that one on such as do nothing."""
        for field, column in self._columns.items():
            column[:, rows:] = _PADDING.get(field, 0)

    def _fill_adjustments(self, adjustments: LogitAdjustments) -> None:
        for name, column in (
            (sampler.CHANGE_ROW, adjustments.row),
            (sampler.CHANGE_TOKEN, adjustments.token),
            (sampler.CHANGE_PENALTY, adjustments.penalty),
            (sampler.CHANGE_BIAS, adjustments.bias),
        ):
            if column.size:
                # The last one is made again and again: that comes to the same.
                self._inputs[name].host[: column.size] = column
                self._inputs[name].host[column.size :] = column[-1]
        rows = len(adjustments.top_p)
        for name, column in (
            (sampler.TOP_P, adjustments.top_p),
            (sampler.LOG_MIN_P, adjustments.log_min_p),
        ):
            self._inputs[name].host[:rows, 0] = column

    def run(self) -> None:
        """Run the program on what is in the inputs."""
        for buffer in self._inputs.values():
            buffer.upload()
        self.binding.run()

    def result(self, rows: int, *, best: bool) -> StepResult:
        """Return copies of what the last run put into the outputs."""

        def output(name: str) -> Array:
            copy: Array = self._outputs[name].download()[:, :rows].copy()
            return copy

        none = np.zeros((rows, 0), np.int64)
        return StepResult(
            output(names.CHOSEN)[..., 0],
            output(names.LOG_PROBABILITY)[..., 0],
            output(names.TOP_TOKEN)[0] if best else none,
            output(names.TOP_LOG_PROBABILITY)[0] if best else none.astype(np.float32),
            output(names.ALL_SCORES) if names.ALL_SCORES in self._outputs else None,
        )


def _power_of_two(number: int) -> int:
    """Return the next power of two; 0 for 0."""
    return 1 << (number - 1).bit_length() if number else 0
