"""The packed inputs of a fixed-shape step program: a batch's columns in one array for each type.

    int64s         int64[lines, batch, 1]
    float32s       float32[lines, batch, 1]

Each holds its columns one below the other, in the table's order: a line for a column with a number
for each row, and a line for each step for a column with a number for each step and row. So a batch
reaches a device in two copies, and one operator for each takes all lines apart. Columns of logit
changes are not packed; they have a length of their own, and an input each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.server.programs.columns import Axes, Column
from cellwire.server.programs.graph import OWN, Graph, Value


@dataclass(frozen=True, slots=True)
class Packing:
    """One packed input, and where its columns are."""

    name: str
    dtype: type[np.generic]
    tensor_type: int  # of TensorProto
    columns: tuple[Column, ...]
    steps: int

    @property
    def lengths(self) -> list[int]:
        """How many lines each column has."""
        return [self.steps if c.axes is Axes.STEP_AND_ROW else 1 for c in self.columns]

    def lines(self) -> Iterator[tuple[Column, slice]]:
        """Yield each column with its lines."""
        for column, length, end in zip(
            self.columns, self.lengths, np.cumsum(self.lengths).tolist(), strict=True
        ):
            yield column, slice(end - length, end)

    def unpack(self, outer: Graph) -> Value:
        """Add the nodes that take the lines apart, and return the packed input.

        A column of steps becomes a value for each step, `[batch, 1]`; see `step_values`.
        """
        lines = [f"{self.name}.{line}" for line in range(sum(self.lengths))]
        outer.split(self.name, lines)
        for column, place in self.lines():
            axes = outer.axes(0, 2) if column.axes is Axes.ROW else outer.axes(0)
            for line, value in zip(lines[place], self._values(column), strict=True):
                outer.add("Squeeze", line, axes, name=value)
        return Value(self.name, self.tensor_type, [len(lines), "batch", 1])

    def _values(self, column: Column) -> list[str]:
        if column.axes is Axes.STEP_AND_ROW:
            return step_values(column.name, self.steps)
        return [column.name]


def step_values(name: str, steps: int) -> list[str]:
    """Return the names of a value for each step."""
    return [f"{name}.{step}" for step in range(steps)]


def packings(columns: Sequence[Column], steps: int) -> list[Packing]:
    """Return the packed inputs of a program of so many steps."""
    by_row = [column for column in columns if column.axes is not Axes.CHANGE]
    int64s = tuple(column for column in by_row if column.dtype is np.int64)
    float32s = tuple(column for column in by_row if column.dtype is np.float32)
    packed = [
        Packing(f"{OWN}int64s", np.int64, TensorProto.INT64, int64s, steps),
        Packing(f"{OWN}float32s", np.float32, TensorProto.FLOAT, float32s, steps),
    ]
    return [packing for packing in packed if packing.columns]
