"""The beam program: several steps of beam searches, which choose their hypotheses themselves.

Each step reads the last token of every hypothesis. Of all extensions it takes the likeliest as the
next hypotheses, with the states of their parents. A run holds `beams` searches of one `width`, and
each search has `width` rows, in the order of their texts. Rows whose log-probability is `DEAD` or
less are dead: fillers of a search with fewer hypotheses. Their parents and tokens mean nothing.

DEAD is finite, and every log-probability is raised to it before it is ranked: CUDA's TopK fills its
blocks with the lowest finite number and places that do not exist, and would prefer these to -inf.

One row of each search is the greedy hypothesis, which is followed even if others are likelier. When
it ends, the likeliest of the other extensions succeeds it.

Inputs, besides those of every program (see program.py; batch = beams * width):

    greedy                      int64[beams, 1], the row of the greedy hypothesis
    log_probability             float64[batch, 1], of the whole hypothesis; -inf is dead, too

and what follows from the sizes (see `size_inputs`), so that a card computes nothing on the host.

Outputs, of the hypotheses after each step:

    parent, token               int64[steps, beams, width]
    next_log_probability        float64[steps, beams, width]
    nan_check                   float32[steps, batch], NaN where the cell's output has a NaN

and final_greedy, int64[beams, 1]. A program for searches with an end before their maximum length
also takes

    end, before_end             bool[ends, vocabulary], tokens that end, and that an end may follow
    end_of_beam, end_of_row     int64[beams], int64[batch], the places of their ends among these
    may_end                     bool[batch, 1], whether an end may come next

and outputs, of the best extensions that end with each step,

    ended                       int64[steps, beams, width], their places
    ended_log_probability       float64[steps, beams, width]

An extension's place is `row * vocabulary + token`, so places are in the order of the texts, too: of
equally likely extensions the one with the lower tokens comes first.

A program for a number of steps has no loop, whose condition a card would copy to the host after
every step, and no input `steps`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
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

LOG_PROBABILITY = f"{OWN}log_probability"
GREEDY = f"{OWN}greedy"
MAY_END = f"{OWN}may_end"
END = f"{OWN}end"
BEFORE_END = f"{OWN}before_end"
END_OF_BEAM = f"{OWN}end_of_beam"
END_OF_ROW = f"{OWN}end_of_row"

DEAD = -1e306  # a log-probability; no sum with other log-probabilities changes it

PARENT = f"{OWN}parent"
TOKEN = f"{OWN}token"
NEXT_LOG_PROBABILITY = f"{OWN}next_log_probability"
ENDED = f"{OWN}ended"
ENDED_LOG_PROBABILITY = f"{OWN}ended_log_probability"
NAN_CHECK = f"{OWN}nan_check"
FINAL_GREEDY = final(GREEDY)

_STEP = f"{OWN}step."  # inside the loop
_GREEDY_BONUS = 1e300  # more than any two log-probabilities differ, and less than DEAD
_WIDTH = f"{OWN}width"
_BY_PLACE = f"{OWN}by_place"
_FIRST_ROW = f"{OWN}first_row"
_BONUS = f"{OWN}greedy_bonus"

_INT64, _FLOAT32, _FLOAT64 = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE
_BOOL = TensorProto.BOOL
_BATCH: Shape = ("batch",)
_BY_ROW: Shape = ("batch", 1)
_BY_WIDTH: Shape = ("beams", "width")
_BY_BEAM: Shape = ("beams", 1)


class BeamProgram(NamedTuple):
    """What a beam program is for."""

    may_end: bool  # whether some search may end before its maximum length
    steps: int | None = None  # None: a loop of any number of steps


def size_inputs(beams: int, width: int, vocabulary: int) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs that follow from a batch's sizes.

    A card reads the first two in the host's memory, and the others in its own.
    """
    return {
        _WIDTH: np.array([width]),
        _BY_PLACE: np.array([beams, width * vocabulary]),  # a shape
        _FIRST_ROW: np.arange(0, beams * width, width).reshape(beams, 1),  # of each beam
        _BONUS: np.full((beams, 1), _GREEDY_BONUS),
    }


def compose_beam_program(cell: Cell, program: BeamProgram) -> bytes:
    """Return a serialized program for a cell with logits."""
    step, outer = cell_step(cell), Graph("outer")
    inputs = _inputs()
    carried = [_carried(GREEDY, _INT64, _BY_BEAM), _carried(LOG_PROBABILITY, _FLOAT64, _BY_ROW)]
    scanned = [
        _scan(PARENT, _INT64, _BY_WIDTH),
        _scan(TOKEN, _INT64, _BY_WIDTH),
        _scan(NEXT_LOG_PROBABILITY, _FLOAT64, _BY_WIDTH),
        _scan(NAN_CHECK, _FLOAT32, _BATCH),
    ]
    extensions = _extensions(step, cell)
    if program.may_end:
        inputs += _end_inputs(cell)
        carried.append(_carried(MAY_END, _BOOL, _BY_ROW))
        scanned.append(_scan(ENDED_LOG_PROBABILITY, _FLOAT64, _BY_WIDTH))
        scanned.append(_scan(ENDED, _INT64, _BY_WIDTH))
        extensions = _without_ended(step, outer, extensions)
    _choose(step, cell, extensions)
    _carry_chosen(step, cell)
    if program.may_end:
        _carry_may_end(step, outer)
    final_outputs = [Value(FINAL_GREEDY, _INT64, _BY_BEAM)]
    parts = ProgramParts(step, outer, inputs, carried, scanned, final_outputs)
    return assemble(cell, parts, program.steps)


def _inputs() -> list[Value]:
    """Return the inputs of every beam program."""
    return [
        *(Value(name, _INT64, _BATCH) for name in (FIRST_TOKEN, READ_SLOT, WRITE_SLOT)),
        Value(GREEDY, _INT64, _BY_BEAM),
        Value(LOG_PROBABILITY, _FLOAT64, _BY_ROW),
        Value(_WIDTH, _INT64, [1]),
        Value(_BY_PLACE, _INT64, [2]),
        Value(_FIRST_ROW, _INT64, _BY_BEAM),
        Value(_BONUS, _FLOAT64, _BY_BEAM),
    ]


def _end_inputs(cell: Cell) -> list[Value]:
    """Return the inputs of a program for searches with an end."""
    by_end: Shape = ("ends", cell.manifest.vocabulary.size)
    return [
        *(Value(name, _BOOL, by_end) for name in (END, BEFORE_END)),
        Value(END_OF_BEAM, _INT64, ["beams"]),
        Value(END_OF_ROW, _INT64, _BATCH),
        Value(MAY_END, _BOOL, _BY_ROW),
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


def _extensions(step: Graph, cell: Cell) -> str:
    """Return the log-probabilities of all extensions: float64[batch, vocabulary], finite or NaN."""
    logs = step.add("LogSoftmax", LOGITS, axis=1)
    # A row with one NaN is all NaN.
    step.add("Gather", logs, step.constant(0, np.int64), axis=1, name=_STEP + NAN_CHECK)
    logs = writable(step, cell, logs)
    logs = step.add("Add", step.add("Cast", logs, to=_FLOAT64), _body_in(LOG_PROBABILITY))
    return step.add("Max", logs, step.constant(DEAD, np.float64))


def _without_ended(step: Graph, outer: Graph, extensions: str) -> str:
    """Collect the best extensions that end, and return the extensions that continue."""
    end = outer.add("Gather", END, END_OF_ROW, axis=0)  # [batch, vocabulary]
    ends = step.add("And", end, _body_in(MAY_END))
    dead = step.constant(DEAD, np.float64)
    ended = step.add("Reshape", step.add("Where", ends, extensions, dead), _BY_PLACE)
    step.top(ended, _WIDTH, top=_STEP + ENDED_LOG_PROBABILITY, places=_STEP + ENDED)
    return step.add("Where", ends, dead, extensions)


def _choose(step: Graph, cell: Cell, extensions: str) -> None:
    """Choose the likeliest extensions, the greedy one among them, in the order of their texts."""
    vocabulary = step.constant([cell.manifest.vocabulary.size], np.int64)
    extensions = step.add("Reshape", extensions, _BY_PLACE)
    greedy = _greedy_place(step, cell, vocabulary)
    greedy_first = step.add("ScatterElements", extensions, greedy, _BONUS, axis=1, reduction="add")
    _, places = step.top(greedy_first, _WIDTH)
    places, rank = step.top(places, _WIDTH, largest=False)
    # The greedy row had rank 0; as float32, since CUDA has no ArgMin of whole numbers.
    rank = step.add("Cast", rank, to=_FLOAT32)
    step.add("ArgMin", rank, axis=1, keepdims=1, name=_body_out(GREEDY))
    logs = step.add("GatherElements", extensions, places, axis=1, name=_STEP + NEXT_LOG_PROBABILITY)
    step.add("Reshape", logs, _by_row(step), name=_body_out(LOG_PROBABILITY))
    step.add("Div", places, vocabulary, name=_STEP + PARENT)
    step.add("Mod", places, vocabulary, name=_STEP + TOKEN)


def _greedy_place(step: Graph, cell: Cell, vocabulary: str) -> str:
    """Return the place of the greedy hypotheses' likeliest extensions: int64[beams, 1]."""
    row = step.add("Add", _body_in(GREEDY), _FIRST_ROW)
    logits = step.add("Gather", LOGITS, row, axis=0)  # [beams, 1, vocabulary]
    token = step.add("ArgMax", writable(step, cell, logits), axis=2, keepdims=0)
    return step.add("Add", step.add("Mul", _body_in(GREEDY), vocabulary), token)


def _carry_chosen(step: Graph, cell: Cell) -> None:
    """Pass the chosen extensions' tokens, and their parents' states, to the next step."""
    batch = step.constant([-1], np.int64)  # a shape
    row = step.add("Reshape", step.add("Add", _STEP + PARENT, _FIRST_ROW), batch)
    for state in cell.states:
        step.add("Gather", NEXT_STATE + state.name, row, axis=0, name=CARRIED_STATE + state.name)
    step.add("Reshape", _STEP + TOKEN, batch, name=NEXT_TOKEN)


def _carry_may_end(step: Graph, outer: Graph) -> None:
    """Pass on whether an end may follow the chosen extensions' tokens."""
    before_end = outer.add("Gather", BEFORE_END, END_OF_BEAM, axis=0)  # [beams, vocabulary]
    may_come = step.add("GatherElements", before_end, _STEP + TOKEN, axis=1)
    step.add("Reshape", may_come, _by_row(step), name=_body_out(MAY_END))


def _by_row(step: Graph) -> str:
    """Return the shape [batch, 1]."""
    return step.constant([-1, 1], np.int64)
