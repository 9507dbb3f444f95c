"""A step program's inputs, and each step's own parts of them.

A step reads, besides what is carried from step to step,

    of_step(FORCED)        int64[batch, 1]
    of_step(UNIFORM)       float32[batch, 1], if it draws tokens
    of_step(IS_FORCED)     bool[batch, 1], if it draws tokens
    of_step(RUNNING)       bool[batch, 1], whether the row takes the step; of ragged batches

In a loop, the step's own nodes take these from the columns. Without one, they are made for all
steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellwire.server.programs.columns import COUNT, FORCED, UNIFORM, Axes, Column
from cellwire.server.programs.graph import OWN, Graph, Value
from cellwire.server.programs.packing import packings, step_values
from cellwire.server.programs.program import STEP_NUMBER, of_step

IS_FORCED = f"{OWN}is_forced"
RUNNING = f"{OWN}running"


def add_columns(step: Graph, columns: Sequence[Column]) -> list[Value]:
    """Add the nodes that take a step's parts from the columns, and return the inputs."""
    for column in columns:
        if column.axes is Axes.STEP_AND_ROW:
            step.add("Gather", column.name, STEP_NUMBER, name=of_step(column.name), axis=0)
    names = {column.name for column in columns}
    if UNIFORM in names:
        _add_is_forced(step, of_step(FORCED), of_step(IS_FORCED))
    if COUNT in names:
        step.add("Less", STEP_NUMBER, COUNT, name=of_step(RUNNING))
    return [column.value() for column in columns]


def add_packed(outer: Graph, columns: Sequence[Column], steps: int) -> list[Value]:
    """Add the nodes that take packed columns apart for all steps, and return the inputs."""
    inputs = [packing.unpack(outer) for packing in packings(columns, steps)]
    names = {column.name for column in columns}
    if UNIFORM in names:
        forced = outer.concat(step_values(FORCED, steps), axis=1)
        is_forced = _add_is_forced(outer, forced)  # [batch, steps]
        outer.split(is_forced, step_values(IS_FORCED, steps), axis=1)
    if COUNT in names:
        running = outer.add("Less", outer.constant(np.arange(steps), np.int64), COUNT)
        outer.split(running, step_values(RUNNING, steps), axis=1)
    return [*inputs, *(column.value() for column in columns if column.axes is Axes.CHANGE)]


def values_by_step(columns: Sequence[Column], steps: int) -> dict[str, list[str]]:
    """Return what `add_packed` makes for each step, by the step's name for it."""
    names = [column.name for column in columns if column.axes is Axes.STEP_AND_ROW]
    return {of_step(name): step_values(name, steps) for name in (*names, IS_FORCED, RUNNING)}


def _add_is_forced(graph: Graph, forced: str, name: str = "") -> str:
    return graph.add("GreaterOrEqual", forced, graph.constant(0, np.int64), name=name)
