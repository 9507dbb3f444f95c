"""What the programs around a cell have in common.

A program gathers the rows of a batch from the arenas, runs a loop of steps, each the cell and
what settles the tokens to be read next, and scatters the states it has come to back. The loop is
what makes several steps cost one call of the runtime. (All names but the cell's own begin with
"cellwire.", so that they never meet.)

    steps                                   int64[], of the loop
    first_token, read_slot, write_slot      int64[batch]
    arena.<state>, next_arena.<state>       float32[slots, ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from cellwire.model_file.cell import STATE, TOKEN, Cell, StateTensor
from cellwire.server.programs.graph import OWN, Graph, LoopCarried, ScanOutput, Value

STEPS = f"{OWN}steps"
FIRST_TOKEN = f"{OWN}first_token"
READ_SLOT = f"{OWN}read_slot"
WRITE_SLOT = f"{OWN}write_slot"
ARENA = f"{OWN}arena."
NEXT_ARENA = f"{OWN}next_arena."

NUMBER = f"{OWN}step.number"  # of a step, inside the loop
NEXT_TOKEN = f"{OWN}step.next_token"
KEPT = f"{OWN}step.kept."  # and a state's name: what a step leaves to the next one

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT


def last(name: str) -> str:
    """Return the name of what the last step has left of something."""
    return f"{OWN}last.{name}"


def step_of(cell: Cell) -> Graph:
    """Return the beginning of a step: the cell; ValueError if it takes our names."""
    inner = cell.graph.graph
    names = [name for node in inner.node for name in node.output]
    if any(name.startswith(OWN) for name in (*names, *(t.name for t in inner.initializer))):
        raise ValueError(f"values named {OWN}* are the daemon's own")
    step = Graph("step")
    step.nodes.extend(inner.node)
    return step


@dataclass(frozen=True, slots=True)
class Parts:
    """What is particular to a program: a step that goes on from the cell, and what goes in and out.

    The step settles NEXT_TOKEN and, for each state, KEPT + its name.
    """

    step: Graph
    around: Graph  # what is worked out before the loop
    inputs: Sequence[Value]  # beside those that every program takes
    carried: Sequence[LoopCarried]  # from step to step, beside the tokens and states
    collected: Sequence[ScanOutput]
    given: Sequence[Value] = ()  # of what was carried, what the program is to give


def assemble(cell: Cell, parts: Parts, steps: int | None = None) -> bytes:
    """Return a serialized program: of a loop, or of so many `steps` one after the other.

    The latter has no input STEPS, and what else every program takes must come from `around`.
    """
    around, states = parts.around, cell.states
    token = LoopCarried(FIRST_TOKEN, Value(TOKEN, _INT64, ["batch"]), NEXT_TOKEN, last(NEXT_TOKEN))
    carried = [token, *(_gathered(around, state) for state in states), *parts.carried]
    inputs: list[Value] = []
    if steps is None:
        around.loop(parts.step, STEPS, NUMBER, carried, parts.collected)
        inputs.append(Value(STEPS, _INT64, []))
        inputs += [Value(n, _INT64, ["batch"]) for n in (FIRST_TOKEN, READ_SLOT, WRITE_SLOT)]
    else:
        around.unrolled(parts.step, steps, NUMBER, carried, parts.collected)
    for state in states:
        slots = around.add("Unsqueeze", WRITE_SLOT, around.axes(1))
        arena, rows = ARENA + state.name, last(STATE + state.name)
        around.add("ScatterND", arena, slots, rows, name=NEXT_ARENA + state.name)
    inputs += [*parts.inputs, *arenas(cell, ARENA)]
    outputs = [
        *(Value(c.output, c.told.dtype, ["steps", *c.told.shape]) for c in parts.collected),
        *parts.given,
        *arenas(cell, NEXT_ARENA),
    ]
    return _model(cell, parts, inputs, outputs).SerializeToString()


def arenas(cell: Cell, name: str) -> list[Value]:
    """Return the arenas as a program takes or gives them."""
    return [Value(name + state.name, _FLOAT32, ["slots", *state.shape]) for state in cell.states]


def _gathered(around: Graph, state: StateTensor) -> LoopCarried:
    """Read the rows of a state from its arena, for the loop to begin with."""
    first = around.add("Gather", ARENA + state.name, READ_SLOT, axis=0)
    read = Value(STATE + state.name, _FLOAT32, ["batch", *state.shape])
    return LoopCarried(first, read, KEPT + state.name, last(STATE + state.name))


def _model(
    cell: Cell, parts: Parts, inputs: Sequence[Value], outputs: Sequence[Value]
) -> onnx.ModelProto:
    inner = cell.graph.graph
    graph = helper.make_graph(
        parts.around.nodes,
        f"{OWN}{cell.name}",
        [value.info() for value in inputs],
        [value.info() for value in outputs],
        [*inner.initializer, *parts.around.constants, *parts.step.constants],
        sparse_initializer=inner.sparse_initializer,
    )
    return helper.make_model(
        graph,
        opset_imports=cell.graph.opset_import,
        functions=cell.graph.functions,
        ir_version=min(cell.graph.ir_version, 13),
    )
