"""The program around a cell: gather, cell, sampler, scatter, in one ONNX graph.

For each row of a step it reads each state from the arena, runs the cell, settles the next token,
and writes the next states back (all names but `token` begin with "cellwire.", so that no cell's
own names meet them):

    token, read_slot, write_slot, forced, top_k  int64[batch]
    inverse_temperature, uniform                 float32[batch]
    top_k_limit                                  int64[1], the batch's greatest top_k, at least 1
    arena.<state>, next_arena.<state>            float32[slots, ...]
    chosen                                       int64[batch]
    log_probability                              float32[batch]

Every operation on logits must work on each row by itself, in the same order whatever the batch
holds, so that a row's token depends on no other row. Softmax, LogSoftmax and CumSum do. ReduceSum
does not: its order of addition depends on how a row lies in memory, so here it only ever adds whole
numbers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cellwire.server.cell import LOGITS, NEXT_STATE, STATE, TOKEN, Cell, StateTensor

_OWN = "cellwire."  # no cell may use names that begin so

ARENA = f"{_OWN}arena."
NEXT_ARENA = f"{_OWN}next_arena."
READ_SLOT = f"{_OWN}read_slot"
WRITE_SLOT = f"{_OWN}write_slot"
FORCED = f"{_OWN}forced"
INVERSE_TEMPERATURE = f"{_OWN}inverse_temperature"
UNIFORM = f"{_OWN}uniform"
TOP_K = f"{_OWN}top_k"
TOP_K_LIMIT = f"{_OWN}top_k_limit"
CHOSEN = f"{_OWN}chosen"
LOG_PROBABILITY = f"{_OWN}log_probability"


class _Graph:
    """Nodes under construction; every value they make gets a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: int) -> str:
        """Add a node with one output and return the output's name."""
        name = name or f"{_OWN}{kind}.{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(node)
        return name

    def constant(self, value: object, dtype: type[np.generic]) -> str:
        """Add a constant and return its name."""
        name = f"{_OWN}constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def compose_program(cell: Cell) -> bytes:
    """Return the serialized program for a cell; ValueError if the cell takes our names."""
    inner = cell.graph.graph
    names = [name for node in inner.node for name in node.output]
    if any(name.startswith(_OWN) for name in (*names, *(t.name for t in inner.initializer))):
        raise ValueError(f"values named {_OWN}* are the daemon's own")
    before, after = _Graph(), _Graph()
    for state in cell.states:
        before.add("Gather", ARENA + state.name, READ_SLOT, name=STATE + state.name, axis=0)
    _sample(after)
    for state in cell.states:
        _scatter(after, cell, state)
    return _assemble(cell, before, after).SerializeToString()


def _scatter(graph: _Graph, cell: Cell, state: StateTensor) -> None:
    """Write the rows of a state's next values into its arena."""
    rows = NEXT_STATE + state.name
    if not _depends(cell.graph.graph, rows, STATE + state.name):
        # Arena and next arena share their memory, which ONNX Runtime does not know: where nothing
        # else makes the write wait for the read, choosing between the two values does.
        axes = graph.constant(range(1, 1 + len(state.shape)), np.int64)
        always = graph.add("GreaterOrEqual", READ_SLOT, graph.constant(0, np.int64))
        always = graph.add("Unsqueeze", always, axes)
        rows = graph.add("Where", always, rows, STATE + state.name)
    slots = graph.add("Unsqueeze", WRITE_SLOT, graph.constant([1], np.int64))
    graph.add("ScatterND", ARENA + state.name, slots, rows, name=NEXT_ARENA + state.name)


def _depends(graph: onnx.GraphProto, output: str, source: str) -> bool:
    """Whether a value is computed from another."""
    makers = {name: node for node in graph.node for name in node.output}
    seen: set[str] = set()
    open_ends = [output]
    while open_ends:
        name = open_ends.pop()
        if name == source:
            return True
        if name in makers and name not in seen:
            seen.add(name)
            open_ends += makers[name].input
    return False


def _sample(graph: _Graph) -> None:
    """Settle the next token of each row: forced, or the inverse of its distribution's CDF.

    Greedy choice is an enormous inverse temperature with a uniform of 0; see sampling.py.
    """
    last, one = graph.constant([1], np.int64), graph.constant(1, np.int64)
    zero = graph.constant(0, np.int64)
    top_k = graph.add("Unsqueeze", TOP_K, last)  # [batch, 1]
    best = f"{_OWN}best"  # [batch, top_k_limit], descending
    graph.nodes.append(
        helper.make_node("TopK", [LOGITS, TOP_K_LIMIT], [best, f"{_OWN}best_tokens"], axis=1)
    )
    index = graph.add("Max", graph.add("Sub", top_k, one), zero)
    kth = graph.add("GatherElements", best, index, axis=1)  # [batch, 1]
    everything = graph.add("Equal", top_k, zero)
    floor = graph.add("Where", everything, graph.constant(-np.inf, np.float32), kth)

    inverse_temperature = graph.add("Unsqueeze", INVERSE_TEMPERATURE, last)
    scaled = graph.add("Mul", LOGITS, inverse_temperature)  # [batch, vocabulary]
    allowed = graph.add("GreaterOrEqual", LOGITS, floor)
    masked = graph.add("Where", allowed, scaled, graph.constant(-np.inf, np.float32))
    weight = graph.add("Softmax", masked, axis=1)
    cumulated = graph.add("CumSum", weight, one)
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, graph.add("Unsqueeze", UNIFORM, last))
    passed = graph.add("Cast", graph.add("LessOrEqual", cumulated, mark), to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", passed, last, keepdims=0)
    sampled = graph.add("Cast", count, to=TensorProto.INT64)
    is_forced = graph.add("GreaterOrEqual", FORCED, zero)
    graph.add("Where", is_forced, FORCED, sampled, name=CHOSEN)

    chosen = graph.add("Unsqueeze", CHOSEN, last)
    log_probabilities = graph.add("LogSoftmax", LOGITS, axis=1)  # [batch, vocabulary]
    log_probability = graph.add("GatherElements", log_probabilities, chosen, axis=1)
    graph.add("Squeeze", log_probability, last, name=LOG_PROBABILITY)


def _assemble(cell: Cell, before: _Graph, after: _Graph) -> onnx.ModelProto:
    """Put the cell between what comes before and after it."""
    int64, float32 = TensorProto.INT64, TensorProto.FLOAT
    value = helper.make_tensor_value_info
    integers = [TOKEN, READ_SLOT, WRITE_SLOT, FORCED, TOP_K]
    floats = [INVERSE_TEMPERATURE, UNIFORM]
    inputs = [
        *(value(name, int64, ["batch"]) for name in integers),
        *(value(name, float32, ["batch"]) for name in floats),
        value(TOP_K_LIMIT, int64, [1]),
        *(value(ARENA + s.name, float32, ["slots", *s.shape]) for s in cell.states),
    ]
    outputs = [
        value(CHOSEN, int64, ["batch"]),
        value(LOG_PROBABILITY, float32, ["batch"]),
        *(value(NEXT_ARENA + s.name, float32, ["slots", *s.shape]) for s in cell.states),
    ]
    inner = cell.graph.graph
    graph = helper.make_graph(
        [*before.nodes, *inner.node, *after.nodes],
        f"cellwire.{cell.name}",
        inputs,
        outputs,
        [*inner.initializer, *before.constants, *after.constants],
        sparse_initializer=inner.sparse_initializer,
    )
    return helper.make_model(
        graph,
        opset_imports=cell.graph.opset_import,
        functions=cell.graph.functions,
        ir_version=min(cell.graph.ir_version, 13),
    )
