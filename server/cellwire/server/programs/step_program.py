"""The step program: each row takes its steps, and each step chooses the row's next token.

Inputs are the columns of a step batch (see columns.py), and for variants that rank tokens also

    limit                  int64[1], the number of top tokens to rank

Outputs:

    chosen                 int64[steps, batch, 1]
    log_probability        float32[steps, batch, 1]
    scores                 float32[steps, batch, labels], of a cell with labels
    top_token, top_log_probability      [steps, batch, limit], of variants that report top tokens

A program of a fixed shape has a fixed number of steps and a fixed limit. It has no loop, neither
`steps` nor `limit` as an input, and takes the columns packed (see packing.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import NEXT_STATE, SCORES, STATE
from cellwire.server.programs import sampler
from cellwire.server.programs.columns import COUNT, Axes, columns_of
from cellwire.server.programs.draws import LIMIT
from cellwire.server.programs.graph import OWN, Graph, ScanOutput, Shape, Value
from cellwire.server.programs.packing import packings
from cellwire.server.programs.program import (
    CARRIED_STATE,
    NEXT_TOKEN,
    STEP_NUMBER,
    ProgramParts,
    assemble,
    cell_step,
)
from cellwire.server.programs.sampler_variant import SamplerVariant

CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
TOP_TOKEN = f"{OWN}top_token"
TOP_LOG_PROBABILITY = f"{OWN}top_log_probability"
ALL_SCORES = f"{OWN}scores"

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT
_BY_ROW: Shape = ("batch", 1)


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """The shape that a program without a loop is made for."""

    steps: int
    limit: int  # of top tokens to rank; 0 if the variant ranks none


def takes_limit(cell: Cell, variant: SamplerVariant) -> bool:
    """Whether a cell's program ranks top tokens."""
    return cell.generates and variant.ranks_tokens


def gives_top_tokens(cell: Cell, variant: SamplerVariant) -> bool:
    """Whether a cell's program outputs top tokens."""
    return cell.generates and variant.reports_top_tokens


def compose_step_program(
    cell: Cell, variant: SamplerVariant, shape: ProgramShape | None = None
) -> bytes:
    """Return a serialized program.

    Without a `shape`, the program takes batches of any number of steps, and any limit.
    """
    step, outer = cell_step(cell), Graph("outer")
    inputs = _inputs(outer, cell, variant, shape)
    if cell.generates:
        limit = shape.limit if shape else None
        sampler.add_sampler(step, outer, variant, STEP_NUMBER, cell, limit)
    else:
        sampler.add_forced_tokens(step, STEP_NUMBER)
    step.add("Squeeze", sampler.STEP_CHOSEN, step.axes(1), name=NEXT_TOKEN)
    _hold_finished_rows(step, cell)
    parts = ProgramParts(step, outer, inputs, (), _scanned(cell, variant))
    return assemble(cell, parts, shape.steps if shape else None)


def _inputs(
    outer: Graph, cell: Cell, variant: SamplerVariant, shape: ProgramShape | None
) -> list[Value]:
    """Return the program's inputs, with the nodes that unpack them for a fixed shape."""
    columns = columns_of(cell, variant)
    if shape is None:
        limit = [Value(LIMIT, _INT64, [1])] if takes_limit(cell, variant) else []
        return [*(column.value() for column in columns), *limit]
    if takes_limit(cell, variant):
        outer.constant([shape.limit], np.int64, name=LIMIT)
    packed = [packing.unpack(outer) for packing in packings(columns, shape.steps)]
    return [*packed, *(c.value() for c in columns if c.axes is Axes.CHANGE)]


def _hold_finished_rows(step: Graph, cell: Cell) -> None:
    """Keep the state of each row that has taken all its steps."""
    running = step.add("Less", STEP_NUMBER, COUNT)  # [batch, 1]
    for state in cell.states:
        mask = running  # of as many dimensions as the state
        if not state.shape:
            mask = step.add("Squeeze", running, step.axes(1))
        elif len(state.shape) > 1:
            mask = step.add("Unsqueeze", running, step.axes(*range(2, 1 + len(state.shape))))
        after, before = NEXT_STATE + state.name, STATE + state.name
        step.add("Where", mask, after, before, name=CARRIED_STATE + state.name)


def _scanned(cell: Cell, variant: SamplerVariant) -> list[ScanOutput]:
    """Return the outputs that are collected from every step."""
    log_probability = Value(sampler.STEP_LOG_PROBABILITY, _FLOAT32, _BY_ROW)
    scanned = [
        ScanOutput(Value(sampler.STEP_CHOSEN, _INT64, _BY_ROW), CHOSEN),
        ScanOutput(log_probability, LOG_PROBABILITY),
    ]
    if gives_top_tokens(cell, variant):
        by_rank: Shape = ("batch", "limit")
        top_log_probability = Value(sampler.STEP_TOP_LOG_PROBABILITY, _FLOAT32, by_rank)
        scanned.append(ScanOutput(Value(sampler.STEP_TOP_TOKEN, _INT64, by_rank), TOP_TOKEN))
        scanned.append(ScanOutput(top_log_probability, TOP_LOG_PROBABILITY))
    if cell.labels:
        scores = Value(SCORES, _FLOAT32, ["batch", len(cell.labels)])
        scanned.append(ScanOutput(scores, ALL_SCORES))
    return scanned
