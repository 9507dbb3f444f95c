"""The parts that all programs around a cell share.

A program gathers a batch's states from the arenas, runs several steps, and scatters the states
after the last step back. A step is the cell, followed by nodes that choose the tokens of the next
step. Several steps in one run cost one call of the runtime. All names but the cell's own begin with
"cellwire.", so that they cannot collide with it.

    steps                                   int64[], the loop's trip count
    first_token, read_slot, write_slot      int64[batch]
    arena.<state>, next_arena.<state>       float32[slots, ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import STATE, TOKEN, StateTensor
from cellwire.server.programs.graph import OWN, Graph, LoopCarried, ScanOutput, Value

STEPS = f"{OWN}steps"
FIRST_TOKEN = f"{OWN}first_token"
READ_SLOT = f"{OWN}read_slot"
WRITE_SLOT = f"{OWN}write_slot"
ARENA = f"{OWN}arena."
NEXT_ARENA = f"{OWN}next_arena."

STEP_NUMBER = f"{OWN}step.number"  # inside the loop, from 0
NEXT_TOKEN = f"{OWN}step.next_token"
CARRIED_STATE = f"{OWN}step.carried_state."  # and a state's name: what a step makes of it

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT


def final(name: str) -> str:
    """Return the name of a loop-carried value after the last step."""
    return f"{OWN}final.{name}"


def of_step(name: str) -> str:
    """Return the name, within a step, of the step's own part of a value."""
    return f"{name}.of_step"


def cell_step(cell: Cell) -> Graph:
    """Return a step that holds the cell alone."""
    step = Graph("step")
    step.nodes.extend(cell.graph.graph.node)
    return step


@dataclass(frozen=True, slots=True)
class ProgramParts:
    """The parts that differ between programs.

    The step defines NEXT_TOKEN and, for each state, `next_state` + its name.
    """

    step: Graph  # begins with the cell
    outer: Graph  # nodes before the loop
    inputs: Sequence[Value]  # all but STEPS and the arenas
    carried: Sequence[LoopCarried]  # besides tokens and states
    scanned: Sequence[ScanOutput]
    final_outputs: Sequence[Value] = ()  # final values of what is carried, or defined by `after`
    collected: Sequence[ScanOutput] = ()  # from every step, to be read by `after`; no outputs
    after: Graph = field(default_factory=lambda: Graph("after"))  # nodes after the loop
    next_state: str = CARRIED_STATE  # and a state's name: the next step's state
    # Without a loop: what each step reads besides what is carried, by its name within the step.
    by_step: Mapping[str, Sequence[str]] = field(default_factory=dict)


def assemble(cell: Cell, parts: ProgramParts, steps: int | None = None) -> bytes:
    """Return a serialized program: with a loop, or unrolled to a number of `steps`.

    An unrolled program has no input STEPS.
    """
    outer, states = parts.outer, cell.states
    token = LoopCarried(FIRST_TOKEN, Value(TOKEN, _INT64, ["batch"]), NEXT_TOKEN, final(NEXT_TOKEN))
    gathered = [_gathered(outer, state, parts.next_state) for state in states]
    carried = [token, *gathered, *parts.carried]
    scanned = [*parts.scanned, *parts.collected]
    inputs = [*parts.inputs, *arenas(cell, ARENA)]
    if steps is None:
        outer.loop(parts.step, STEPS, STEP_NUMBER, carried, scanned)
        inputs.append(Value(STEPS, _INT64, []))
        rows = [state.final for state in gathered]
    else:
        outer.unroll(parts.step, steps, parts.by_step, carried, scanned)
        rows = [_after_reading(outer, parts.step, state) for state in gathered]
    slots = outer.add("Unsqueeze", WRITE_SLOT, outer.axes(1))
    for state, written in zip(states, rows, strict=True):
        outer.add("ScatterND", ARENA + state.name, slots, written, name=NEXT_ARENA + state.name)
    outer.nodes.extend(parts.after.nodes)
    outputs = [
        *(Value(s.output, s.value.dtype, ["steps", *s.value.shape]) for s in parts.scanned),
        *parts.final_outputs,
        *arenas(cell, NEXT_ARENA),
    ]
    return _model(cell, parts, inputs, outputs).SerializeToString()


def arenas(cell: Cell, prefix: str) -> list[Value]:
    """Return the arenas as a program's inputs or outputs."""
    return [Value(prefix + state.name, _FLOAT32, ["slots", *state.shape]) for state in cell.states]


def _gathered(outer: Graph, state: StateTensor, next_state: str) -> LoopCarried:
    """Gather the rows of a state from its arena: the loop's initial value."""
    rows = outer.add("Gather", ARENA + state.name, READ_SLOT, axis=0)
    body_in = Value(STATE + state.name, _FLOAT32, ["batch", *state.shape])
    return LoopCarried(rows, body_in, next_state + state.name, final(STATE + state.name))


def _after_reading(outer: Graph, step: Graph, state: LoopCarried) -> str:
    """Return the rows of a state to be written, so that they depend on the rows that were read.

    An arena is updated in place: without a loop, nothing but a dependence makes its update wait
    until it has been read.
    """
    if step.depends(state.body_out, on=state.body_in.name):
        return state.final
    return outer.add("Where", outer.constant([True], np.bool_), state.final, state.initial)


def _model(
    cell: Cell, parts: ProgramParts, inputs: Sequence[Value], outputs: Sequence[Value]
) -> onnx.ModelProto:
    inner, graphs = cell.graph.graph, (parts.outer, parts.step, parts.after)
    graph = helper.make_graph(
        parts.outer.nodes,
        f"{OWN}{cell.name}",
        [value.info() for value in inputs],
        [value.info() for value in outputs],
        [*inner.initializer, *(c for graph in graphs for c in graph.constants)],
        sparse_initializer=inner.sparse_initializer,
    )
    return helper.make_model(
        graph,
        opset_imports=cell.graph.opset_import,
        functions=cell.graph.functions,
        ir_version=min(cell.graph.ir_version, 13),
    )
