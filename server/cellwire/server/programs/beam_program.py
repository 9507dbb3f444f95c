"""The beam program: several steps of beam searches, which choose their hypotheses themselves.

Each step reads the last token of every hypothesis. Of all extensions it takes the likeliest as the
next hypotheses, with the states of their parents. A run holds `beams` searches of one `width`, and
each search has `width` rows, in the order of their texts. Rows whose log-probability is -inf are
dead: fillers of a search with fewer hypotheses.

One row of each search is the greedy hypothesis, which is followed even if others are likelier. When
it ends, the likeliest of the other extensions succeeds it.

Inputs, besides those of every program (see program.py; batch = beams * width):

    width                       int64[1]
    greedy                      int64[beams, 1], the row of the greedy hypothesis
    log_probability             float64[batch, 1], of the whole hypothesis

Outputs, of the hypotheses after each step:

    parent, token               int64[steps, beams, width]
    next_log_probability        float64[steps, beams, width]
    nan_check                   float32[steps, batch], NaN where the cell's output has a NaN

and final_greedy, int64[beams, 1]. A program for searches with an end before their maximum length
also takes

    end, before_end             bool[beams, vocabulary], tokens that end, and that an end may follow
    may_end                     bool[batch, 1], whether an end may come next

and outputs, of the best extensions that end with each step,

    ended                       int64[steps, beams, width], their places
    ended_log_probability       float64[steps, beams, width]

An extension's place is `row * vocabulary + token`, so places are in the order of the texts, too: of
equally likely extensions the one with the lower tokens comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS, NEXT_STATE
from cellwire.server.programs.graph import OWN, Graph, LoopCarried, ScanOutput, Shape, Value
from cellwire.server.programs.program import (
    CARRIED_STATE,
    FIRST_TOKEN,
    NEXT_TOKEN,
    READ_SLOT,
    WRITE_SLOT,
    ProgramParts,
    assemble,
    cell_step,
    final,
)
from cellwire.server.programs.unknown_symbol import writable

WIDTH = f"{OWN}width"
LOG_PROBABILITY = f"{OWN}log_probability"
GREEDY = f"{OWN}greedy"
MAY_END = f"{OWN}may_end"
END = f"{OWN}end"
BEFORE_END = f"{OWN}before_end"

PARENT = f"{OWN}parent"
TOKEN = f"{OWN}token"
NEXT_LOG_PROBABILITY = f"{OWN}next_log_probability"
ENDED = f"{OWN}ended"
ENDED_LOG_PROBABILITY = f"{OWN}ended_log_probability"
NAN_CHECK = f"{OWN}nan_check"
FINAL_GREEDY = final(GREEDY)

_STEP = f"{OWN}step."  # inside the loop
_DEAD = -np.inf  # a log-probability
_GREEDY_BONUS = 1e300  # more than any two log-probabilities differ

_INT64, _FLOAT32, _FLOAT64 = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE
_BOOL = TensorProto.BOOL
_BATCH: Shape = ("batch",)
_BY_ROW: Shape = ("batch", 1)
_BY_WIDTH: Shape = ("beams", "width")
_BY_BEAM: Shape = ("beams", 1)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Values that are computed once for all steps."""

    vocabulary: str  # [1]
    by_place: str  # the shape [beams, width * vocabulary]
    by_row: str  # the shape [beams * width, 1]
    batch: str  # the shape [beams * width]
    first_row: str  # [beams, 1], each beam's first row in the batch
    beam: str  # [batch], each row's beam
    greedy_bonus: str  # float64[beams, 1]


def compose_beam_program(cell: Cell, *, may_end: bool) -> bytes:
    """Return a serialized program for a cell with logits."""
    step, outer = cell_step(cell), Graph("outer")
    sizes = _sizes(outer, cell)
    inputs = _inputs()
    carried = [_carried(GREEDY, _INT64, _BY_BEAM), _carried(LOG_PROBABILITY, _FLOAT64, _BY_ROW)]
    scanned = [
        _scan(PARENT, _INT64, _BY_WIDTH),
        _scan(TOKEN, _INT64, _BY_WIDTH),
        _scan(NEXT_LOG_PROBABILITY, _FLOAT64, _BY_WIDTH),
        _scan(NAN_CHECK, _FLOAT32, _BATCH),
    ]
    logits = writable(step, cell, LOGITS)
    extensions = _extensions(step, cell)
    if may_end:
        by_beam: Shape = ("beams", cell.manifest.vocabulary.size)
        inputs += [Value(name, _BOOL, by_beam) for name in (END, BEFORE_END)]
        inputs.append(Value(MAY_END, _BOOL, _BY_ROW))
        carried.append(_carried(MAY_END, _BOOL, _BY_ROW))
        scanned.append(_scan(ENDED_LOG_PROBABILITY, _FLOAT64, _BY_WIDTH))
        scanned.append(_scan(ENDED, _INT64, _BY_WIDTH))
        extensions = _without_ended(step, outer, sizes, extensions)
    _choose(step, sizes, extensions, logits)
    _carry_chosen(step, cell, sizes)
    if may_end:
        may_come = step.add("GatherElements", BEFORE_END, _STEP + TOKEN, axis=1)
        step.add("Reshape", may_come, sizes.by_row, name=_body_out(MAY_END))
    final_outputs = [Value(FINAL_GREEDY, _INT64, _BY_BEAM)]
    return assemble(cell, ProgramParts(step, outer, inputs, carried, scanned, final_outputs))


def _inputs() -> list[Value]:
    """Return the inputs of every beam program."""
    return [
        *(Value(name, _INT64, _BATCH) for name in (FIRST_TOKEN, READ_SLOT, WRITE_SLOT)),
        Value(WIDTH, _INT64, [1]),
        Value(GREEDY, _INT64, _BY_BEAM),
        Value(LOG_PROBABILITY, _FLOAT64, _BY_ROW),
    ]


def _body_in(name: str) -> str:
    """Return a carried value's name at the start of a step."""
    return f"{_STEP}in.{name}"


def _body_out(name: str) -> str:
    """Return a carried value's name at the end of a step."""
    return f"{_STEP}out.{name}"


def _carried(name: str, dtype: int, shape: Shape) -> LoopCarried:
    return LoopCarried(name, Value(_body_in(name), dtype, shape), _body_out(name), final(name))


def _scan(name: str, dtype: int, shape: Shape) -> ScanOutput:
    return ScanOutput(Value(_STEP + name, dtype, shape), name)


def _sizes(outer: Graph, cell: Cell) -> _Sizes:
    zero, one = outer.constant(0, np.int64), outer.constant(1, np.int64)
    any_length = outer.constant([-1], np.int64)
    vocabulary = outer.constant([cell.manifest.vocabulary.size], np.int64)
    places = outer.add("Mul", WIDTH, vocabulary)
    by_beam = outer.add("Shape", GREEDY)
    beams = outer.add("Gather", by_beam, zero, axis=0)
    numbers = outer.add("Range", zero, beams, one)
    first_row = outer.add("Mul", numbers, WIDTH)
    rows = outer.add("Range", zero, outer.add("Mul", beams, outer.add("Squeeze", WIDTH)), one)
    return _Sizes(
        vocabulary=vocabulary,
        by_place=outer.add("Concat", any_length, places, axis=0),
        by_row=outer.constant([-1, 1], np.int64),
        batch=any_length,
        first_row=outer.add("Unsqueeze", first_row, outer.axes(1)),
        beam=outer.add("Div", rows, WIDTH),
        greedy_bonus=outer.add("Expand", outer.constant(_GREEDY_BONUS, np.float64), by_beam),
    )


def _extensions(step: Graph, cell: Cell) -> str:
    """Return the log-probabilities of all extensions: float64[batch, vocabulary]."""
    logs = step.add("LogSoftmax", LOGITS, axis=1)
    # A row with one NaN is all NaN.
    step.add("Gather", logs, step.constant(0, np.int64), axis=1, name=_STEP + NAN_CHECK)
    logs = writable(step, cell, logs)
    return step.add("Add", step.add("Cast", logs, to=_FLOAT64), _body_in(LOG_PROBABILITY))


def _without_ended(step: Graph, outer: Graph, sizes: _Sizes, extensions: str) -> str:
    """Collect the best extensions that end, and return the extensions that continue."""
    end = outer.add("Gather", END, sizes.beam, axis=0)  # [batch, vocabulary]
    ends = step.add("And", end, _body_in(MAY_END))
    dead = step.constant(_DEAD, np.float64)
    ended = step.add("Reshape", step.add("Where", ends, extensions, dead), sizes.by_place)
    step.top(ended, WIDTH, top=_STEP + ENDED_LOG_PROBABILITY, places=_STEP + ENDED)
    return step.add("Where", ends, dead, extensions)


def _choose(step: Graph, sizes: _Sizes, extensions: str, logits: str) -> None:
    """Choose the likeliest extensions, the greedy one among them, in the order of their texts."""
    extensions = step.add("Reshape", extensions, sizes.by_place)
    token = step.add("ArgMax", logits, axis=1, keepdims=0)  # [batch], the likeliest
    row = step.add("Add", _body_in(GREEDY), sizes.first_row)
    greedy = step.add("Mul", _body_in(GREEDY), sizes.vocabulary)
    greedy = step.add("Add", greedy, step.add("Gather", token, row, axis=0))
    greedy_first = step.add(
        "ScatterElements", extensions, greedy, sizes.greedy_bonus, axis=1, reduction="add"
    )
    _, places = step.top(greedy_first, WIDTH)
    places, rank = step.top(places, WIDTH, largest=False)
    # The greedy row had rank 0; as float32, since CUDA has no ArgMin of whole numbers.
    rank = step.add("Cast", rank, to=_FLOAT32)
    step.add("ArgMin", rank, axis=1, keepdims=1, name=_body_out(GREEDY))
    logs = step.add("GatherElements", extensions, places, axis=1, name=_STEP + NEXT_LOG_PROBABILITY)
    step.add("Reshape", logs, sizes.by_row, name=_body_out(LOG_PROBABILITY))
    step.add("Div", places, sizes.vocabulary, name=_STEP + PARENT)
    step.add("Mod", places, sizes.vocabulary, name=_STEP + TOKEN)


def _carry_chosen(step: Graph, cell: Cell, sizes: _Sizes) -> None:
    """Pass the chosen extensions' tokens, and their parents' states, to the next step."""
    row = step.add("Reshape", step.add("Add", _STEP + PARENT, sizes.first_row), sizes.batch)
    for state in cell.states:
        step.add("Gather", NEXT_STATE + state.name, row, axis=0, name=CARRIED_STATE + state.name)
    step.add("Reshape", _STEP + TOKEN, sizes.batch, name=NEXT_TOKEN)
