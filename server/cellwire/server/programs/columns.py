"""The columns of a step batch: each with its field, its program input, its type and its shape.

COLUMNS is the only list of them. Programs declare their inputs from it, and the runtime fills and
binds arrays by it. A new sampling parameter is a row here, a field of LogitAdjustments, and the
nodes that apply it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from cellwire.model_file.cell import Cell
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.programs.graph import OWN, Value
from cellwire.server.programs.program import FIRST_TOKEN, READ_SLOT, WRITE_SLOT
from cellwire.server.programs.sampler_variant import SamplerVariant

Array = npt.NDArray[Any]

COUNT = f"{OWN}count"
FORCED = f"{OWN}forced"
UNIFORM = f"{OWN}uniform"
INVERSE_TEMPERATURE = f"{OWN}inverse_temperature"
TOP_K = f"{OWN}top_k"
TOP_P = f"{OWN}top_p"
LOG_MIN_P = f"{OWN}log_min_p"
CHANGE_ROW = f"{OWN}change_row"
CHANGE_TOKEN = f"{OWN}change_token"
CHANGE_PENALTY = f"{OWN}change_penalty"
CHANGE_BIAS = f"{OWN}change_bias"


class Axes(Enum):
    """What a column has one number for, and the shape in which a program takes it."""

    ROW = ("batch",)
    ROW_OF_ONE = ("batch", 1)  # a number for each row, to be broadcast over its tokens
    STEP_AND_ROW = ("steps", "batch", 1)
    CHANGE = ("changes",)  # a number for each logit that is changed


_ALL = frozenset(SamplerVariant)
_SAMPLING = _ALL - {SamplerVariant.FORCED}
_RANKING = frozenset(variant for variant in SamplerVariant if variant.ranks_tokens)
_ADJUSTED = frozenset(variant for variant in SamplerVariant if variant.adjusts)
_TOP_P = frozenset(variant for variant in SamplerVariant if variant.limits_top_p)

_TENSOR_TYPES: dict[type[np.generic], int] = {
    np.int64: TensorProto.INT64,
    np.float32: TensorProto.FLOAT,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One kind of number in a step batch."""

    source: str  # the field of a StepBatch, or the path to it
    name: str  # the program's input
    dtype: type[np.generic]
    axes: Axes
    variants: frozenset[SamplerVariant] = _ALL  # whose programs take it
    padding: float = 0  # in a row, or a change, that does nothing
    read: Callable[[StepBatch], Array] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", attrgetter(self.source))

    def value(self) -> Value:
        """Return the column as a program's input."""
        return Value(self.name, _TENSOR_TYPES[self.dtype], self.axes.value)

    def shape(self, steps: int, rows: int, changes: int) -> tuple[int, ...]:
        """Return the input's shape in a batch of this size."""
        lengths = {"steps": steps, "batch": rows, "changes": changes, 1: 1}
        return tuple(lengths[axis] for axis in self.axes.value)


_INT, _FLOAT = np.int64, np.float32

COLUMNS = (
    Column("token", FIRST_TOKEN, _INT, Axes.ROW),
    Column("read_slot", READ_SLOT, _INT, Axes.ROW, padding=ZERO),
    Column("write_slot", WRITE_SLOT, _INT, Axes.ROW, padding=TRASH),
    Column("count", COUNT, _INT, Axes.ROW_OF_ONE),
    Column("forced", FORCED, _INT, Axes.STEP_AND_ROW),
    Column("uniform", UNIFORM, _FLOAT, Axes.STEP_AND_ROW, _SAMPLING),
    Column("inverse_temperature", INVERSE_TEMPERATURE, _FLOAT, Axes.ROW_OF_ONE, _SAMPLING, 1),
    Column("top_k", TOP_K, _INT, Axes.ROW_OF_ONE, _RANKING),
    Column("adjustments.top_p", TOP_P, _FLOAT, Axes.ROW_OF_ONE, _TOP_P, 1),
    Column("adjustments.log_min_p", LOG_MIN_P, _FLOAT, Axes.ROW_OF_ONE, _ADJUSTED, -np.inf),
    Column("adjustments.row", CHANGE_ROW, _INT, Axes.CHANGE, _ADJUSTED),
    Column("adjustments.token", CHANGE_TOKEN, _INT, Axes.CHANGE, _ADJUSTED),
    Column("adjustments.penalty", CHANGE_PENALTY, _FLOAT, Axes.CHANGE, _ADJUSTED, 1),
    Column("adjustments.bias", CHANGE_BIAS, _FLOAT, Axes.CHANGE, _ADJUSTED),
)


def columns_of(cell: Cell, variant: SamplerVariant, *, ragged: bool) -> tuple[Column, ...]:
    """Return the columns that a cell's program takes, in the table's order.

    Only the program of `ragged` batches takes the number of steps of each row.
    """
    if not cell.generates:  # without logits, all tokens are forced
        variant = SamplerVariant.FORCED
    columns = (column for column in COLUMNS if variant in column.variants)
    return tuple(column for column in columns if ragged or column.name != COUNT)
