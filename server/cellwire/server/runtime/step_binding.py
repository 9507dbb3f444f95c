"""A size of step batch, bound to arrays: batches of that size are filled in, run, and read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.programs.columns import Axes, Column, columns_of
from cellwire.server.programs.draws import LIMIT
from cellwire.server.programs.packing import packings
from cellwire.server.programs.program import STEPS
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import (
    ALL_SCORES,
    CHOSEN,
    LOG_PROBABILITY,
    TOP_LOG_PROBABILITY,
    TOP_TOKEN,
    ProgramShape,
    gives_top_tokens,
    takes_limit,
)
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Array, Compiled

Allocate = Callable[[str, tuple[int, ...], type[np.generic]], Buffer]
"""Returns a buffer for an input or output, by its name, shape and type."""


class StepPrograms(Protocol):
    """Returns a compiled program: with a loop, or of a shape; NotCompiled."""

    def __call__(  # noqa: D102  # said above
        self, variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool
    ) -> Compiled: ...


class StepSize(NamedTuple):
    """The variant and the lengths that a binding is for."""

    variant: SamplerVariant
    steps: int
    rows: int
    limit: int  # of top tokens to rank
    changes: int  # of single logits
    ragged: bool = False  # whether a row may take fewer than all steps


class StepBinding:
    """The arrays of one size of step batch, bound to a program.

    A smaller batch is padded: with rows that step the zero state into the trash slot, and by
    repeating the last logit change, which is idempotent.
    """

    def __init__(
        self,
        compiled: Compiled,
        arenas: Mapping[str, Buffer],
        cell: Cell,
        size: StepSize,
        allocate: Allocate,
        *,
        packed: bool,
    ) -> None:
        """Allocate and bind the arrays; MemoryError if there is no room, StepFailed.

        `packed` says whether the program has a fixed shape, and so packed inputs.
        """
        self._size = size
        self._allocate = allocate
        self._inputs: list[Buffer] = []
        self._by_row: list[tuple[Column, Array]] = []  # [rows] or [steps, rows]
        self._by_change: list[tuple[Column, Array]] = []  # [changes]
        self._outputs: dict[str, Buffer] = {}
        self._binding = Binding(compiled)
        self._binding.bind_arenas(arenas)
        if packed:
            self._bind_packed(cell)
        else:
            self._bind_columns(cell)
        self._bind_outputs(cell)
        self._no_tops = np.zeros((size.rows, 0), np.int64), np.zeros((size.rows, 0), np.float32)

    def _bind_columns(self, cell: Cell) -> None:
        """Bind an array for each column, and the program's lengths."""
        size = self._size
        for column in columns_of(cell, size.variant, ragged=size.ragged):
            self._bind_column(column)
        self._binding.input(STEPS, np.array(size.steps))
        if takes_limit(cell, size.variant):
            self._binding.input(LIMIT, np.array([size.limit]))

    def _bind_packed(self, cell: Cell) -> None:
        """Bind two arrays for all columns but the logit changes."""
        size = self._size
        columns = columns_of(cell, size.variant, ragged=size.ragged)
        for packing in packings(columns, size.steps):
            shape = sum(packing.lengths), size.rows, 1
            lines = self._bind_input(packing.name, shape, packing.dtype)
            for column, place in packing.lines():
                self._add(column, lines[place])
        for column in columns:
            if column.axes is Axes.CHANGE:
                self._bind_column(column)

    def _bind_column(self, column: Column) -> None:
        size = self._size
        shape = column.shape(size.steps, size.rows, size.changes)
        self._add(column, self._bind_input(column.name, shape, column.dtype))

    def _bind_input(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
        buffer = self._allocate(name, shape, dtype)
        self._binding.read(name, buffer)
        self._inputs.append(buffer)
        return buffer.host

    def _add(self, column: Column, array: Array) -> None:
        """Add a view of an array, in the shape of the batch's column."""
        if column.axes is Axes.CHANGE:
            self._by_change.append((column, array))
        else:
            steps = (self._size.steps,) if column.axes is Axes.STEP_AND_ROW else ()
            self._by_row.append((column, array.reshape(*steps, self._size.rows)))

    def _bind_outputs(self, cell: Cell) -> None:
        variant, steps, rows, limit = self._size[:4]
        self._bind_output(CHOSEN, (steps, rows, 1), np.int64)
        self._bind_output(LOG_PROBABILITY, (steps, rows, 1), np.float32)
        if gives_top_tokens(cell, variant, steps):
            self._bind_output(TOP_TOKEN, (1, rows, limit), np.int64)
            self._bind_output(TOP_LOG_PROBABILITY, (1, rows, limit), np.float32)
        if cell.labels:
            self._bind_output(ALL_SCORES, (steps, rows, len(cell.labels)), np.float32)

    def _bind_output(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self._outputs[name] = self._allocate(name, shape, dtype)
        self._binding.write(name, self._outputs[name])

    def step(self, batch: StepBatch) -> StepResult:
        """Run a batch of this size or smaller; StepFailed."""
        self.fill(batch)
        self.run()
        return self.result(len(batch), top_tokens=bool(batch.top_token_count))

    def fill(self, batch: StepBatch) -> None:
        """Copy a batch of this size or smaller into the input arrays."""
        rows = len(batch)
        if rows == self._size.rows:
            for column, array in self._by_row:
                array[...] = column.read(batch)
        else:
            for column, array in self._by_row:
                array[..., :rows] = column.read(batch)
            self._pad(rows)
        for column, array in self._by_change:
            values = column.read(batch)
            array[: len(values)] = values
            array[len(values) :] = values[-1] if len(values) else column.padding

    def _pad(self, rows: int) -> None:
        """Make the rows from that one on do nothing."""
        for column, array in self._by_row:
            array[..., rows:] = column.padding

    def clear(self) -> None:
        """Fill the input arrays with a batch that changes nothing but the trash slot."""
        self._pad(0)
        for column, array in self._by_change:
            array[:] = column.padding

    def run(self) -> None:
        """Run the program on the input arrays; StepFailed."""
        for buffer in self._inputs:
            buffer.upload()
        self._binding.run()

    def start(self) -> None:
        """Start the program on the input arrays, which may then be filled again; StepFailed.

        A captured program must have run before.
        """
        for buffer in self._inputs:
            buffer.upload()
        self._binding.start()

    def wait(self) -> None:
        """Wait for the end of what was started; StepFailed."""
        self._binding.wait()

    def result(self, rows: int, *, top_tokens: bool) -> StepResult:
        """Return copies of the output arrays' first rows; StepFailed."""
        outputs = self._outputs
        top_token, top_log_probability = self._no_tops
        if top_tokens and TOP_TOKEN in outputs:
            top_token = outputs[TOP_TOKEN].download()[0].copy()
            top_log_probability = outputs[TOP_LOG_PROBABILITY].download()[0].copy()
        return StepResult(
            outputs[CHOSEN].download()[:, :rows, 0].copy(),
            outputs[LOG_PROBABILITY].download()[:, :rows, 0].copy(),
            top_token[:rows],
            top_log_probability[:rows],
            outputs[ALL_SCORES].download()[:, :rows].copy() if ALL_SCORES in outputs else None,
        )

    def close(self) -> None:
        """Unbind the arrays and give their memory back."""
        self._binding.close()
        for buffer in (*self._inputs, *self._outputs.values()):
            buffer.close()
