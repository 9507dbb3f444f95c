"""The program of a stride: each row takes its steps, and each step settles the next token.

Beside what every program takes (see program.py):

    count                  int64[batch, 1], how many steps each row takes; then it stays
    forced                 int64[steps, batch, 1]
    uniform                float32[steps, batch, 1]
    inverse_temperature    float32[batch, 1]

and gives:

    chosen                 int64[steps, batch, 1]
    log_probability        float32[steps, batch, 1]
    scores                 float32[steps, batch, labels], if it has labels

Programs with more of a sampler (see sampler.py) have more inputs, and those that rank also give

    best_token, best_log_probability            [steps, batch, limit], the likeliest first

A program for a fixed number of steps, and of likeliest tokens to rank, has no loop and no input of
either number. It takes the columns of a batch packed into two arrays, so that they reach a device
in two copies:

    whole_numbers          int64[rows, batch]
    numbers                float32[rows, batch]

Each holds its columns one below the other, in the order of COLUMNS; those of each step have a row
for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import NEXT_STATE, SCORES, STATE, Cell
from cellwire.server.programs import sampler as of_sampler
from cellwire.server.programs.graph import OWN, Graph, ScanOutput, Shape, Value
from cellwire.server.programs.program import (
    FIRST_TOKEN,
    KEPT,
    NEXT_TOKEN,
    NUMBER,
    READ_SLOT,
    WRITE_SLOT,
    Parts,
    assemble,
    step_of,
)
from cellwire.server.programs.sampler import SamplerVariant, add_forced_tokens, add_sampler

COUNT = f"{OWN}count"
WHOLE_NUMBERS = f"{OWN}whole_numbers"
NUMBERS = f"{OWN}numbers"
CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
TOP_TOKEN = f"{OWN}best_token"
TOP_LOG_PROBABILITY = f"{OWN}best_log_probability"
ALL_SCORES = f"{OWN}scores"

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT
_ROWS: Shape = ("batch", 1)


@dataclass(frozen=True, slots=True)
class Column:
    """A number of every row, or one of every row and step."""

    field: str  # of a StepBatch
    name: str
    dtype: type[np.generic]
    each_step: bool = False
    flat: bool = False  # [batch]; the others are [batch, 1]


COLUMNS = (
    Column("token", FIRST_TOKEN, np.int64, flat=True),
    Column("read_slot", READ_SLOT, np.int64, flat=True),
    Column("write_slot", WRITE_SLOT, np.int64, flat=True),
    Column("count", COUNT, np.int64),
    Column("forced", of_sampler.FORCED, np.int64, each_step=True),
    Column("uniform", of_sampler.UNIFORM, np.float32, each_step=True),
    Column("inverse_temperature", of_sampler.INVERSE_TEMPERATURE, np.float32),
    Column("top_k", of_sampler.TOP_K, np.int64),
)


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """What a program without a loop is made for."""

    steps: int
    limit: int  # of the likeliest tokens to rank; 0 if the sampler ranks none


def columns_of(cell: Cell, sampler: SamplerVariant) -> tuple[Column, ...]:
    """Return the columns that a program takes."""
    left_out = set()
    if not (cell.writes and sampler.samples):
        left_out |= {of_sampler.UNIFORM, of_sampler.INVERSE_TEMPERATURE}
    if not (cell.writes and sampler.ranks):
        left_out.add(of_sampler.TOP_K)
    return tuple(column for column in COLUMNS if column.name not in left_out)


def compose_step_program(
    cell: Cell, sampler: SamplerVariant, fixed: ProgramShape | None = None
) -> bytes:
    """Return a serialized program for a cell; ValueError if the cell takes our names."""
    step, around = step_of(cell), Graph("around")
    if cell.writes:
        add_sampler(step, sampler, NUMBER, cell.manifest.vocabulary.size)
    else:
        add_forced_tokens(step, NUMBER)
    step.add("Squeeze", of_sampler.CHOSEN, step.axes(1), name=NEXT_TOKEN)
    _stay_where_done(step, cell)
    asked = _asked(cell, sampler)
    if fixed is None:
        inputs = [Value(COUNT, _INT64, _ROWS), *asked]
    else:
        columns = columns_of(cell, sampler)
        inputs = [
            *_unpacked(around, WHOLE_NUMBERS, np.int64, columns, fixed.steps),
            *_unpacked(around, NUMBERS, np.float32, columns, fixed.steps),
        ]
        given = {of_sampler.LIMIT, *(column.name for column in columns)}
        inputs += [value for value in asked if value.name not in given]
        around.constant([fixed.limit], np.int64, name=of_sampler.LIMIT)
    parts = Parts(step, around, inputs, (), _collected(cell, sampler))
    return assemble(cell, parts, fixed.steps if fixed else None)


def rows_of(columns: Sequence[Column], steps: int) -> list[int]:
    """Return how many rows each column has where they are packed."""
    return [steps if column.each_step else 1 for column in columns]


def _unpacked(
    around: Graph, packed: str, dtype: type[np.generic], columns: Sequence[Column], steps: int
) -> list[Value]:
    """Take the columns of one type out of what they are packed in; return that as an input."""
    columns = [column for column in columns if column.dtype is dtype]
    if not columns:
        return []
    rows = rows_of(columns, steps)
    around.split(packed, rows, [f"{packed}.{column.field}" for column in columns])
    for column in columns:
        shape = [-1] if column.flat else [*([steps] if column.each_step else []), -1, 1]
        around.add(
            "Reshape",
            f"{packed}.{column.field}",
            around.constant(shape, np.int64),
            name=column.name,
        )
    return [Value(packed, _INT64 if dtype is np.int64 else _FLOAT32, [sum(rows), "batch"])]


def _stay_where_done(step: Graph, cell: Cell) -> None:
    """Let the states of rows that have taken all their steps stay as they are."""
    moves = step.add("Less", NUMBER, COUNT)  # [batch, 1]
    for state in cell.states:
        each = moves
        if not state.shape:
            each = step.add("Squeeze", moves, step.axes(1))
        elif len(state.shape) > 1:
            each = step.add("Unsqueeze", moves, step.axes(*range(2, 1 + len(state.shape))))
        after, before = NEXT_STATE + state.name, STATE + state.name
        step.add("Where", each, after, before, name=KEPT + state.name)


def _collected(cell: Cell, sampler: SamplerVariant) -> list[ScanOutput]:
    """Return what every step has to tell."""
    told = [
        ScanOutput(Value(of_sampler.CHOSEN, _INT64, _ROWS), CHOSEN),
        ScanOutput(Value(of_sampler.LOG_PROBABILITY, _FLOAT32, _ROWS), LOG_PROBABILITY),
    ]
    if cell.writes and sampler.reports_top_tokens:
        best: Shape = ("batch", "limit")
        logs = of_sampler.TOP_LOG_PROBABILITY
        told.append(ScanOutput(Value(of_sampler.TOP_TOKEN, _INT64, best), TOP_TOKEN))
        told.append(ScanOutput(Value(logs, _FLOAT32, best), TOP_LOG_PROBABILITY))
    if cell.labels:
        told.append(ScanOutput(Value(SCORES, _FLOAT32, ["batch", len(cell.labels)]), ALL_SCORES))
    return told


def _asked(cell: Cell, sampler: SamplerVariant) -> list[Value]:
    """Return the inputs that say how tokens are settled."""
    each_step, changes = ("steps", *_ROWS), ["changes"]
    asked = [Value(of_sampler.FORCED, _INT64, each_step)]
    if not cell.writes:
        return asked
    if sampler.samples:
        asked.append(Value(of_sampler.UNIFORM, _FLOAT32, each_step))
        asked.append(Value(of_sampler.INVERSE_TEMPERATURE, _FLOAT32, _ROWS))
    if sampler.ranks:
        asked.append(Value(of_sampler.LIMIT, _INT64, [1]))
        asked.append(Value(of_sampler.TOP_K, _INT64, _ROWS))
    if sampler is SamplerVariant.ADJUSTED:
        asked += [
            Value(of_sampler.TOP_P, _FLOAT32, _ROWS),
            Value(of_sampler.LOG_MIN_P, _FLOAT32, _ROWS),
            Value(of_sampler.CHANGE_ROW, _INT64, changes),
            Value(of_sampler.CHANGE_TOKEN, _INT64, changes),
            Value(of_sampler.CHANGE_PENALTY, _FLOAT32, changes),
            Value(of_sampler.CHANGE_BIAS, _FLOAT32, changes),
        ]
    return asked
