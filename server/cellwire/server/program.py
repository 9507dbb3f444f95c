"""The program around a cell, in one ONNX graph: gather, a loop of cell and sampler, scatter.

Each row of a stride reads each state from the arena, takes its steps, and writes the states it has
come to back. (All names but the cell's own begin with "cellwire.", so that they never meet.)

    steps                                       int64[], of the stride
    first_token, read_slot, write_slot, count   int64[batch]; after `count` steps a row stays
    forced                                      int64[steps, batch]
    uniform                                     float32[steps, batch]
    inverse_temperature                         float32[batch]
    arena.<state>, next_arena.<state>           float32[slots, ...]
    chosen                                      int64[steps, batch]
    log_probability                             float32[steps, batch]
    scores                                      float32[steps, batch, labels], if it has labels

The loop is what makes several steps cost one call of the runtime. Programs with more of a sampler
(see sampler.py) have more inputs, and those that rank also

    best_token, best_log_probability            [steps, batch, limit], the likeliest first
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from cellwire.server import sampler as of_sampler
from cellwire.server.cell import NEXT_STATE, SCORES, STATE, TOKEN, Cell
from cellwire.server.graph import OWN, Graph
from cellwire.server.sampler import Sampler, add_sampler, take_what_is_forced

STEPS = f"{OWN}steps"
FIRST_TOKEN = f"{OWN}first_token"
READ_SLOT = f"{OWN}read_slot"
WRITE_SLOT = f"{OWN}write_slot"
COUNT = f"{OWN}count"
ARENA = f"{OWN}arena."
NEXT_ARENA = f"{OWN}next_arena."
CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
BEST_TOKEN = f"{OWN}best_token"
BEST_LOG_PROBABILITY = f"{OWN}best_log_probability"
ALL_SCORES = f"{OWN}scores"

_FIRST = f"{OWN}first."  # states that the loop begins with
_LAST = f"{OWN}last."  # and those it ends with
# Inside the loop.
_STEP = f"{OWN}step.number"
_GO_ON = f"{OWN}step.go_on"
_STILL = f"{OWN}step.still"
_KEPT = f"{OWN}step.kept."
_NEXT_TOKEN = f"{OWN}step.next_token"

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT
_Shape = list[str | int | None]


@dataclass(frozen=True, slots=True)
class _Collected:
    """A value that every step has to tell, and its name and type as an output of the program."""

    value: str
    output: str
    dtype: int
    shape: _Shape  # of one step


def compose_program(cell: Cell, sampler: Sampler) -> bytes:
    """Return a serialized program for a cell; ValueError if the cell takes our names."""
    inner = cell.graph.graph
    names = [name for node in inner.node for name in node.output]
    if any(name.startswith(OWN) for name in (*names, *(t.name for t in inner.initializer))):
        raise ValueError(f"values named {OWN}* are the daemon's own")
    step, around = Graph("step"), Graph("around")
    step.nodes.extend(inner.node)
    if cell.writes:
        add_sampler(step, sampler, _STEP)
    else:
        take_what_is_forced(step, _STEP)
    _stay_where_done(step, cell)
    for state in cell.states:
        around.add("Gather", ARENA + state.name, READ_SLOT, name=_FIRST + state.name, axis=0)
    collected = _collected(cell, sampler)
    _loop(around, step, cell, collected)
    for state in cell.states:
        slots = around.add("Unsqueeze", WRITE_SLOT, around.axes(1))
        arena, rows = ARENA + state.name, _LAST + state.name
        around.add("ScatterND", arena, slots, rows, name=NEXT_ARENA + state.name)
    return _assemble(cell, sampler, around, step, collected).SerializeToString()


def _stay_where_done(step: Graph, cell: Cell) -> None:
    """Let the states of rows that have taken all their steps stay as they are."""
    moves = step.add("Less", _STEP, COUNT)  # [batch]
    for state in cell.states:
        each = step.add("Unsqueeze", moves, step.axes(*range(1, 1 + len(state.shape))))
        after, before = NEXT_STATE + state.name, STATE + state.name
        step.add("Where", each, after, before, name=_KEPT + state.name)


def _collected(cell: Cell, sampler: Sampler) -> list[_Collected]:
    """Return what every step has to tell."""
    each = [
        _Collected(of_sampler.CHOSEN, CHOSEN, _INT64, ["batch"]),
        _Collected(of_sampler.LOG_PROBABILITY, LOG_PROBABILITY, _FLOAT32, ["batch"]),
    ]
    if cell.writes and sampler.reports_best:
        best: _Shape = ["batch", "limit"]
        logs = of_sampler.BEST_LOG_PROBABILITY
        each.append(_Collected(of_sampler.BEST_TOKEN, BEST_TOKEN, _INT64, best))
        each.append(_Collected(logs, BEST_LOG_PROBABILITY, _FLOAT32, best))
    if cell.labels:
        each.append(_Collected(SCORES, ALL_SCORES, _FLOAT32, ["batch", len(cell.labels)]))
    return each


def _loop(around: Graph, step: Graph, cell: Cell, collected: list[_Collected]) -> None:
    """Run the step as often as it is to be, each time on what the one before it left."""
    value = helper.make_tensor_value_info
    shapes: dict[str, _Shape] = {s.name: ["batch", *s.shape] for s in cell.states}
    # A value may leave a loop one way only: carried to the next step, or collected.
    step.add("Identity", of_sampler.CHOSEN, name=_NEXT_TOKEN)
    step.add("Identity", _GO_ON, name=_STILL)
    body = helper.make_graph(
        step.nodes,
        "step",
        [
            value(_STEP, _INT64, []),
            value(_GO_ON, TensorProto.BOOL, []),
            value(TOKEN, _INT64, ["batch"]),
            *(value(STATE + name, _FLOAT32, shape) for name, shape in shapes.items()),
        ],
        [
            value(_STILL, TensorProto.BOOL, []),
            value(_NEXT_TOKEN, _INT64, ["batch"]),
            *(value(_KEPT + name, _FLOAT32, shape) for name, shape in shapes.items()),
            *(value(each.value, each.dtype, each.shape) for each in collected),
        ],
    )
    inputs = [STEPS, "", FIRST_TOKEN, *(_FIRST + name for name in shapes)]
    outputs = [f"{OWN}last_token", *(_LAST + name for name in shapes)]
    outputs += [each.output for each in collected]
    around.nodes.append(helper.make_node("Loop", inputs, outputs, name=f"{OWN}loop", body=body))


def _assemble(
    cell: Cell, sampler: Sampler, around: Graph, step: Graph, collected: list[_Collected]
) -> onnx.ModelProto:
    """Declare what goes in and out, and put everything into one model."""
    value = helper.make_tensor_value_info
    inner = cell.graph.graph
    arenas: dict[str, _Shape] = {s.name: ["slots", *s.shape] for s in cell.states}
    inputs = [
        value(STEPS, _INT64, []),
        *(value(name, _INT64, ["batch"]) for name in (FIRST_TOKEN, READ_SLOT, WRITE_SLOT, COUNT)),
        *(value(name, dtype, shape) for name, (dtype, shape) in _asked(cell, sampler).items()),
        *(value(ARENA + name, _FLOAT32, shape) for name, shape in arenas.items()),
    ]
    outputs = [
        *(value(each.output, each.dtype, ["steps", *each.shape]) for each in collected),
        *(value(NEXT_ARENA + name, _FLOAT32, shape) for name, shape in arenas.items()),
    ]
    graph = helper.make_graph(
        around.nodes,
        f"{OWN}{cell.name}",
        inputs,
        outputs,
        [*inner.initializer, *around.constants, *step.constants],
        sparse_initializer=inner.sparse_initializer,
    )
    return helper.make_model(
        graph,
        opset_imports=cell.graph.opset_import,
        functions=cell.graph.functions,
        ir_version=min(cell.graph.ir_version, 13),
    )


def _asked(cell: Cell, sampler: Sampler) -> dict[str, tuple[int, _Shape]]:
    """Return the inputs that say how tokens are settled: type and shape, by name."""
    asked: dict[str, tuple[int, _Shape]] = {of_sampler.FORCED: (_INT64, ["steps", "batch"])}
    if not cell.writes:
        return asked
    if sampler.samples:
        asked[of_sampler.UNIFORM] = _FLOAT32, ["steps", "batch"]
        asked[of_sampler.INVERSE_TEMPERATURE] = _FLOAT32, ["batch"]
    if sampler.ranks:
        asked[of_sampler.LIMIT] = _INT64, [1]
    if sampler.ranks and sampler.samples:
        asked[of_sampler.TOP_K] = _INT64, ["batch"]
    if sampler is Sampler.SHAPING:
        for name in (of_sampler.TOP_P, of_sampler.LOG_MIN_P):
            asked[name] = _FLOAT32, ["batch"]
        for name in (of_sampler.CHANGE_ROW, of_sampler.CHANGE_TOKEN):
            asked[name] = _INT64, ["changes"]
        for name in (of_sampler.CHANGE_PENALTY, of_sampler.CHANGE_BIAS):
            asked[name] = _FLOAT32, ["changes"]
    return asked
