"""The program around a cell: gather, cell, sampler, scatter, in one ONNX graph.

For each row of a step it reads each state from the arena, runs the cell, settles the next token,
and writes the next states back (all names but `token` begin with "cellwire.", so that no cell's
own names meet them):

    token, read_slot, write_slot, forced, top_k  int64[batch]
    inverse_temperature, uniform                 float32[batch]
    limit                                        int64[1], how many of the likeliest tokens to rank
    arena.<state>, next_arena.<state>            float32[slots, ...]
    chosen                                       int64[batch]
    log_probability                              float32[batch]
    best_token, best_log_probability             [batch, limit], the likeliest first

There are two such programs. The plain one draws with temperature and top-k. The shaping one, for
batches in which some row asks for more, also takes what step.Shaping describes:

    top_p, log_min_p                             float32[batch]
    change_row, change_token                     int64[changes], at least one
    change_penalty, change_bias                  float32[changes]

A row that asks for nothing more gets the same bits from both.

Every operation on logits must work on each row by itself, in the same order whatever the batch
holds, so that a row's token depends on no other row. Softmax, LogSoftmax and CumSum do. ReduceSum
does not: its order of addition depends on how a row lies in memory, so here it only ever adds whole
numbers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cellwire.server.cell import LOGITS, NEXT_STATE, SCORES, STATE, TOKEN, Cell, StateTensor

_OWN = "cellwire."  # no cell may use names that begin so

ARENA = f"{_OWN}arena."
NEXT_ARENA = f"{_OWN}next_arena."
READ_SLOT = f"{_OWN}read_slot"
WRITE_SLOT = f"{_OWN}write_slot"
FORCED = f"{_OWN}forced"
INVERSE_TEMPERATURE = f"{_OWN}inverse_temperature"
UNIFORM = f"{_OWN}uniform"
TOP_K = f"{_OWN}top_k"
LIMIT = f"{_OWN}limit"
TOP_P = f"{_OWN}top_p"
LOG_MIN_P = f"{_OWN}log_min_p"
CHANGE_ROW = f"{_OWN}change_row"
CHANGE_TOKEN = f"{_OWN}change_token"
CHANGE_PENALTY = f"{_OWN}change_penalty"
CHANGE_BIAS = f"{_OWN}change_bias"
CHOSEN = f"{_OWN}chosen"
LOG_PROBABILITY = f"{_OWN}log_probability"
BEST_TOKEN = f"{_OWN}best_token"
BEST_LOG_PROBABILITY = f"{_OWN}best_log_probability"


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


def compose_program(cell: Cell, *, shaping: bool) -> bytes:
    """Return a serialized program for a cell; ValueError if the cell takes our names."""
    inner = cell.graph.graph
    names = [name for node in inner.node for name in node.output]
    if any(name.startswith(_OWN) for name in (*names, *(t.name for t in inner.initializer))):
        raise ValueError(f"values named {_OWN}* are the daemon's own")
    before, after = _Graph(), _Graph()
    for state in cell.states:
        before.add("Gather", ARENA + state.name, READ_SLOT, name=STATE + state.name, axis=0)
    if cell.writes:
        _sample(after, shaping=shaping)
    else:
        _take_what_is_forced(after)
    for state in cell.states:
        _scatter(after, cell, state)
    return _assemble(cell, before, after, shaping=shaping).SerializeToString()


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


def _take_what_is_forced(graph: _Graph) -> None:
    """Settle the next token of each row of a cell that has no logits: nothing is sampled there."""
    graph.add("Identity", FORCED, name=CHOSEN)
    as_float = graph.add("Cast", FORCED, to=TensorProto.FLOAT)
    graph.add("Mul", as_float, graph.constant(0, np.float32), name=LOG_PROBABILITY)


def _sample(graph: _Graph, *, shaping: bool) -> None:
    """Settle the next token of each row: forced, or the inverse of its distribution's CDF.

    Greedy choice is an enormous inverse temperature with a uniform of 0; see sampling.py.
    """
    last, zero = graph.constant([1], np.int64), graph.constant(0, np.int64)
    logits, best = LOGITS, _rank(graph, LOGITS, BEST_TOKEN)
    if shaping:
        logits = _changed(graph)
        best = _rank(graph, logits)
    inverse_temperature = graph.add("Unsqueeze", INVERSE_TEMPERATURE, last)
    scaled = graph.add("Mul", logits, inverse_temperature)  # [batch, vocabulary]
    allowed = graph.add("GreaterOrEqual", logits, _top_k_floor(graph, best))
    if shaping:
        ranked = graph.add("Mul", best, inverse_temperature)  # [batch, limit], descending
        in_top_p = graph.add("GreaterOrEqual", logits, _top_p_floor(graph, best, ranked))
        in_min_p = graph.add("GreaterOrEqual", scaled, _min_p_floor(graph, ranked))
        allowed = graph.add("And", allowed, graph.add("And", in_top_p, in_min_p))
    masked = graph.add("Where", allowed, scaled, graph.constant(-np.inf, np.float32))
    weight = graph.add("Softmax", masked, axis=1)
    cumulated = graph.add("CumSum", weight, graph.constant(1, np.int64))
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, graph.add("Unsqueeze", UNIFORM, last))
    sampled = _count(graph, graph.add("LessOrEqual", cumulated, mark), keepdims=0)
    is_forced = graph.add("GreaterOrEqual", FORCED, zero)
    graph.add("Where", is_forced, FORCED, sampled, name=CHOSEN)
    _report_log_probabilities(graph)


def _report_log_probabilities(graph: _Graph) -> None:
    """Look up what the model itself thought of the chosen tokens and of the likeliest."""
    last = graph.constant([1], np.int64)
    log_probabilities = graph.add("LogSoftmax", LOGITS, axis=1)  # [batch, vocabulary]
    chosen = graph.add("Unsqueeze", CHOSEN, last)
    log_probability = graph.add("GatherElements", log_probabilities, chosen, axis=1)
    graph.add("Squeeze", log_probability, last, name=LOG_PROBABILITY)
    graph.add("GatherElements", log_probabilities, BEST_TOKEN, name=BEST_LOG_PROBABILITY, axis=1)


def _rank(graph: _Graph, logits: str, tokens: str = "") -> str:
    """Return the greatest logits `[batch, limit]`, descending; of equals the lowest token first."""
    best = f"{tokens or logits}.logits"
    tokens = tokens or f"{logits}.tokens"
    graph.nodes.append(helper.make_node("TopK", [logits, LIMIT], [best, tokens], axis=1))
    return best


def _changed(graph: _Graph) -> str:
    """Apply repetition penalties and biases, each to single logits."""
    last = graph.constant([1], np.int64)
    row = graph.add("Unsqueeze", CHANGE_ROW, last)
    places = graph.add("Concat", row, graph.add("Unsqueeze", CHANGE_TOKEN, last), axis=1)
    before = graph.add("GatherND", LOGITS, places)  # [changes]
    unlikelier = graph.add(
        "Where",
        graph.add("Greater", before, graph.constant(0, np.float32)),
        graph.add("Div", before, CHANGE_PENALTY),
        graph.add("Mul", before, CHANGE_PENALTY),
    )
    after = graph.add("Add", unlikelier, CHANGE_BIAS)
    return graph.add("ScatterND", LOGITS, places, after)


def _top_k_floor(graph: _Graph, best: str) -> str:
    """Return `[batch, 1]`: the least logit of each row's top_k; -inf for a top_k of 0."""
    top_k = graph.add("Unsqueeze", TOP_K, graph.constant([1], np.int64))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    index = graph.add("Max", graph.add("Sub", top_k, one), zero)
    kth = graph.add("GatherElements", best, index, axis=1)
    everything = graph.add("Equal", top_k, zero)
    return graph.add("Where", everything, graph.constant(-np.inf, np.float32), kth)


def _top_p_floor(graph: _Graph, best: str, ranked: str) -> str:
    """Return `[batch, 1]`: the least logit of those that together have each row's top_p.

    For a row that asks for it, `best` and `ranked` hold the whole vocabulary.
    """
    last = graph.constant([1], np.int64)
    top_p = graph.add("Unsqueeze", TOP_P, last)
    weight = graph.add("Softmax", ranked, axis=1)
    # What the likelier ones have; 0 for the first, so that one is always left.
    before = graph.add("CumSum", weight, graph.constant(1, np.int64), exclusive=1)
    count = _count(graph, graph.add("Less", before, top_p), keepdims=1)
    index = graph.add("Sub", count, last)
    least = graph.add("GatherElements", best, index, axis=1)
    everything = graph.add("GreaterOrEqual", top_p, graph.constant(1, np.float32))
    return graph.add("Where", everything, graph.constant(-np.inf, np.float32), least)


def _min_p_floor(graph: _Graph, ranked: str) -> str:
    """Return `[batch, 1]`: the least scaled logit whose symbol has its share of the likeliest."""
    likeliest = graph.add("Gather", ranked, graph.constant([0], np.int64), axis=1)
    log_min_p = graph.add("Unsqueeze", LOG_MIN_P, graph.constant([1], np.int64))
    return graph.add("Add", likeliest, log_min_p)


def _count(graph: _Graph, truths: str, *, keepdims: int) -> str:
    """Return how many of each row are true, int64; adding whole numbers, which is exact."""
    ones = graph.add("Cast", truths, to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", ones, graph.constant([1], np.int64), keepdims=keepdims)
    return graph.add("Cast", count, to=TensorProto.INT64)


def _assemble(cell: Cell, before: _Graph, after: _Graph, *, shaping: bool) -> onnx.ModelProto:
    """Put the cell between what comes before and after it."""
    int64, float32 = TensorProto.INT64, TensorProto.FLOAT
    value = helper.make_tensor_value_info
    arenas: list[tuple[str, list[str | int | None]]] = [
        (state.name, ["slots", *state.shape]) for state in cell.states
    ]
    inputs = [
        *(value(name, int64, ["batch"]) for name in (TOKEN, READ_SLOT, WRITE_SLOT, FORCED)),
        *(value(ARENA + name, float32, shape) for name, shape in arenas),
    ]
    outputs = [
        value(CHOSEN, int64, ["batch"]),
        value(LOG_PROBABILITY, float32, ["batch"]),
        *(value(NEXT_ARENA + name, float32, shape) for name, shape in arenas),
    ]
    if cell.writes:
        inputs += [value(TOP_K, int64, ["batch"]), value(LIMIT, int64, [1])]
        inputs += [value(name, float32, ["batch"]) for name in (INVERSE_TEMPERATURE, UNIFORM)]
        outputs += [
            value(BEST_TOKEN, int64, ["batch", "limit"]),
            value(BEST_LOG_PROBABILITY, float32, ["batch", "limit"]),
        ]
    if shaping:
        inputs += [value(name, float32, ["batch"]) for name in (TOP_P, LOG_MIN_P)]
        inputs += [value(name, int64, ["changes"]) for name in (CHANGE_ROW, CHANGE_TOKEN)]
        inputs += [value(name, float32, ["changes"]) for name in (CHANGE_PENALTY, CHANGE_BIAS)]
    if cell.labels:
        outputs.append(value(SCORES, float32, ["batch", len(cell.labels)]))
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
