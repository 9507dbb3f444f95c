"""The program of beam searches: several steps of each, which choose their hypotheses themselves.

Each step reads the last token of every hypothesis; of all extensions it takes the likeliest as the
next hypotheses, and their states from those of their parents. Searches of one width run together,
as `beams`; each has as many `rows` as it is wide. Its rows are in the order of their texts, but for
those that are dead: nobody needs them, and their log-probability is -inf.

One row of each is the greedy hypothesis, which is followed even if others are likelier. When that
has ended, the likeliest of those that are left takes its part.

Beside what every program takes (see program.py; its batch is `beams * rows`):

    width                       int64[1]
    greedy                      int64[beams, 1], the row of the greedy hypothesis
    log_probability             float64[batch, 1], of the whole hypothesis

and gives, of the hypotheses after each step,

    parent, token               int64[steps, beams, width]
    next_log_probability        float64[steps, beams, width]
    soundness                   float32[steps, batch], not a number where the cell's output is not

and last_greedy, the row after the last step. A program for searches that may end before they must
also takes

    ending, before_ending       bool[beams, vocabulary]: tokens that end, and that one may follow
    may_end                     bool[batch, 1], whether an ending may come next

and gives, of the best extensions that end with each step,

    ended                       int64[steps, beams, width], their place
    ended_log_probability       float64[steps, beams, width]

A place among a search's extensions is `row * vocabulary + token`, so places are in the order of
the texts, too: of equally likely extensions the one with the lower tokens comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import LOGITS, NEXT_STATE, Cell
from cellwire.server.programs.graph import OWN, Graph, LoopCarried, ScanOutput, Shape, Value
from cellwire.server.programs.program import KEPT, NEXT_TOKEN, Parts, assemble, last, step_of

WIDTH = f"{OWN}width"
LOG_PROBABILITY = f"{OWN}log_probability"
GREEDY = f"{OWN}greedy"
MAY_END = f"{OWN}may_end"
ENDING = f"{OWN}ending"
BEFORE_ENDING = f"{OWN}before_ending"

PARENT = f"{OWN}parent"
TOKEN = f"{OWN}token"
NEXT_LOG_PROBABILITY = f"{OWN}next_log_probability"
ENDED = f"{OWN}ended"
ENDED_LOG_PROBABILITY = f"{OWN}ended_log_probability"
SOUNDNESS = f"{OWN}soundness"
LAST_GREEDY = last(GREEDY)

_STEP = f"{OWN}step."  # inside the loop
_DEAD = -np.inf  # its log-probability
_AHEAD = 1e300

_INT64, _FLOAT32, _FLOAT64 = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE
_BOOL = TensorProto.BOOL
_BY_ROW: Shape = ("batch", 1)
_BY_WIDTH: Shape = ("beams", "width")
_BY_BEAM: Shape = ("beams", 1)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What is worked out once for all steps."""

    vocabulary: str  # [1]
    by_place: str  # the shape [beams, width * vocabulary]
    by_row: str  # the shape [beams * width, 1]
    batch: str  # the shape [beams * width]
    first_row: str  # [beams, 1], of each beam in the batch
    beam: str  # [batch], which each row is of
    ahead: str  # float64[beams, 1], more than any two log-probabilities differ


def compose_beam_program(cell: Cell, *, may_end: bool) -> bytes:
    """Return a serialized program for a cell with logits; ValueError if it takes our names."""
    step, around = step_of(cell), Graph("around")
    sizes = _sizes(around, cell)
    inputs = [
        Value(WIDTH, _INT64, [1]),
        Value(GREEDY, _INT64, _BY_BEAM),
        Value(LOG_PROBABILITY, _FLOAT64, _BY_ROW),
    ]
    carried = [_carried(GREEDY, _INT64, _BY_BEAM), _carried(LOG_PROBABILITY, _FLOAT64, _BY_ROW)]
    collected = [
        ScanOutput(Value(_STEP + PARENT, _INT64, _BY_WIDTH), PARENT),
        ScanOutput(Value(_STEP + TOKEN, _INT64, _BY_WIDTH), TOKEN),
        ScanOutput(Value(_STEP + NEXT_LOG_PROBABILITY, _FLOAT64, _BY_WIDTH), NEXT_LOG_PROBABILITY),
        ScanOutput(Value(_STEP + SOUNDNESS, _FLOAT32, ["batch"]), SOUNDNESS),
    ]
    extensions = _extensions(step)
    if may_end:
        by_beam: Shape = ("beams", cell.manifest.vocabulary.size)
        inputs += [Value(name, _BOOL, by_beam) for name in (ENDING, BEFORE_ENDING)]
        inputs.append(Value(MAY_END, _BOOL, _BY_ROW))
        carried.append(_carried(MAY_END, _BOOL, _BY_ROW))
        extensions, ended = _without_ended(step, around, sizes, extensions)
        places = Value(ended[1], _INT64, _BY_WIDTH)
        collected.append(ScanOutput(Value(ended[0], _FLOAT64, _BY_WIDTH), ENDED_LOG_PROBABILITY))
        collected.append(ScanOutput(places, ENDED))
    _choose(step, sizes, extensions)
    _hand_on(step, cell, sizes)
    if may_end:
        may_come = step.add("GatherElements", BEFORE_ENDING, _STEP + TOKEN, axis=1)
        step.add("Reshape", may_come, sizes.by_row, name=_left(MAY_END))
    given = [Value(LAST_GREEDY, _INT64, _BY_BEAM)]
    return assemble(cell, Parts(step, around, inputs, carried, collected, given))


def _found(name: str) -> str:
    """Return what a step calls what it finds of a value that is carried."""
    return f"{_STEP}found.{name}"


def _left(name: str) -> str:
    """Return what it calls what it leaves of it."""
    return f"{_STEP}left.{name}"


def _carried(name: str, dtype: int, shape: Shape) -> LoopCarried:
    return LoopCarried(name, Value(_found(name), dtype, shape), _left(name), last(name))


def _sizes(around: Graph, cell: Cell) -> _Sizes:
    zero, one = around.constant(0, np.int64), around.constant(1, np.int64)
    any_number = around.constant([-1], np.int64)
    vocabulary = around.constant([cell.manifest.vocabulary.size], np.int64)
    places = around.add("Mul", WIDTH, vocabulary)
    by_beam = around.add("Shape", GREEDY)
    beams = around.add("Gather", by_beam, zero, axis=0)
    numbers = around.add("Range", zero, beams, one)
    first_row = around.add("Mul", numbers, WIDTH)
    rows = around.add("Range", zero, around.add("Mul", beams, around.add("Squeeze", WIDTH)), one)
    return _Sizes(
        vocabulary=vocabulary,
        by_place=around.add("Concat", any_number, places, axis=0),
        by_row=around.constant([-1, 1], np.int64),
        batch=any_number,
        first_row=around.add("Unsqueeze", first_row, around.axes(1)),
        beam=around.add("Div", rows, WIDTH),
        ahead=around.add("Expand", around.constant(_AHEAD, np.float64), by_beam),
    )


def _extensions(step: Graph) -> str:
    """Return the log-probabilities of all extensions: float64[batch, vocabulary]."""
    logs = step.add("LogSoftmax", LOGITS, axis=1)
    # Where one number of a row is none, no number is.
    step.add("Gather", logs, step.constant(0, np.int64), axis=1, name=_STEP + SOUNDNESS)
    return step.add("Add", step.add("Cast", logs, to=_FLOAT64), _found(LOG_PROBABILITY))


def _without_ended(
    step: Graph, around: Graph, sizes: _Sizes, extensions: str
) -> tuple[str, tuple[str, str]]:
    """Return the extensions that go on, and the best of those that end and their places."""
    ending = around.add("Gather", ENDING, sizes.beam, axis=0)  # [batch, vocabulary]
    ends = step.add("And", ending, _found(MAY_END))
    dead = step.constant(_DEAD, np.float64)
    ended = step.add("Reshape", step.add("Where", ends, extensions, dead), sizes.by_place)
    return step.add("Where", ends, dead, extensions), step.top(ended, WIDTH)


def _choose(step: Graph, sizes: _Sizes, extensions: str) -> None:
    """Choose the likeliest extensions, the greedy one among them, in the order of their texts."""
    extensions = step.add("Reshape", extensions, sizes.by_place)
    token = step.add("ArgMax", LOGITS, axis=1, keepdims=0)  # [batch], the likeliest
    row = step.add("Add", _found(GREEDY), sizes.first_row)
    greedy = step.add("Mul", _found(GREEDY), sizes.vocabulary)
    greedy = step.add("Add", greedy, step.add("Gather", token, row, axis=0))
    ahead = step.add("ScatterElements", extensions, greedy, sizes.ahead, axis=1, reduction="add")
    _, places = step.top(ahead, WIDTH)
    places, which = step.top(places, WIDTH, largest=False)
    # What was the first; as float32, since CUDA has no kernel for whole numbers.
    which = step.add("Cast", which, to=_FLOAT32)
    step.add("ArgMin", which, axis=1, keepdims=1, name=_left(GREEDY))
    logs = step.add("GatherElements", extensions, places, axis=1, name=_STEP + NEXT_LOG_PROBABILITY)
    step.add("Reshape", logs, sizes.by_row, name=_left(LOG_PROBABILITY))
    step.add("Div", places, sizes.vocabulary, name=_STEP + PARENT)
    step.add("Mod", places, sizes.vocabulary, name=_STEP + TOKEN)


def _hand_on(step: Graph, cell: Cell, sizes: _Sizes) -> None:
    """Hand the chosen extensions' tokens, and their parents' states, to the next step."""
    row = step.add("Reshape", step.add("Add", _STEP + PARENT, sizes.first_row), sizes.batch)
    for state in cell.states:
        step.add("Gather", NEXT_STATE + state.name, row, axis=0, name=KEPT + state.name)
    step.add("Reshape", _STEP + TOKEN, sizes.batch, name=NEXT_TOKEN)
