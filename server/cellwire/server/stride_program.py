"""The program of a stride: each row takes its steps, and each step settles the next token.

Beside what every program takes (see program.py):

    count                  int64[batch, 1], how many steps each row takes; then it stays
    forced                 int64[steps, batch, 1]
    uniform                float32[steps, batch, 1]
    inverse_temperature    float32[batch, 1]

and gives:

    chosen                 int64[steps, batch, 1]
    log_probability        float32[steps, batch, 1]
    scores                 float32[steps, batch, labels], if it has labels

Programs with more of a sampler (see sampler.py) have more inputs, and those that rank also give

    best_token, best_log_probability            [steps, batch, limit], the likeliest first
"""

from __future__ import annotations

from onnx import TensorProto

from cellwire.server import sampler as of_sampler
from cellwire.server.cell import NEXT_STATE, SCORES, STATE, Cell
from cellwire.server.graph import OWN, Collected, Graph, Shape, Value
from cellwire.server.program import KEPT, NEXT_TOKEN, NUMBER, Parts, assemble, step_of
from cellwire.server.sampler import Sampler, add_sampler, take_what_is_forced

COUNT = f"{OWN}count"
CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
BEST_TOKEN = f"{OWN}best_token"
BEST_LOG_PROBABILITY = f"{OWN}best_log_probability"
ALL_SCORES = f"{OWN}scores"

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT
_ROWS: Shape = ("batch", 1)


def compose_stride(cell: Cell, sampler: Sampler) -> bytes:
    """Return a serialized program for a cell; ValueError if the cell takes our names."""
    step = step_of(cell)
    if cell.writes:
        add_sampler(step, sampler, NUMBER, cell.manifest.vocabulary.size)
    else:
        take_what_is_forced(step, NUMBER)
    step.add("Squeeze", of_sampler.CHOSEN, step.axes(1), name=NEXT_TOKEN)
    _stay_where_done(step, cell)
    inputs = [Value(COUNT, _INT64, _ROWS), *_asked(cell, sampler)]
    return assemble(cell, Parts(step, Graph("around"), inputs, (), _collected(cell, sampler)))


def _stay_where_done(step: Graph, cell: Cell) -> None:
    """Let the states of rows that have taken all their steps stay as they are."""
    moves = step.add("Less", NUMBER, COUNT)  # [batch, 1]
    for state in cell.states:
        each = moves
        if not state.shape:
            each = step.add("Squeeze", moves, step.axes(1))
        elif len(state.shape) > 1:
            each = step.add("Unsqueeze", moves, step.axes(*range(2, 1 + len(state.shape))))
        after, before = NEXT_STATE + state.name, STATE + state.name
        step.add("Where", each, after, before, name=KEPT + state.name)


def _collected(cell: Cell, sampler: Sampler) -> list[Collected]:
    """Return what every step has to tell."""
    told = [
        Collected(Value(of_sampler.CHOSEN, _INT64, _ROWS), CHOSEN),
        Collected(Value(of_sampler.LOG_PROBABILITY, _FLOAT32, _ROWS), LOG_PROBABILITY),
    ]
    if cell.writes and sampler.reports_best:
        best: Shape = ("batch", "limit")
        logs = of_sampler.BEST_LOG_PROBABILITY
        told.append(Collected(Value(of_sampler.BEST_TOKEN, _INT64, best), BEST_TOKEN))
        told.append(Collected(Value(logs, _FLOAT32, best), BEST_LOG_PROBABILITY))
    if cell.labels:
        told.append(Collected(Value(SCORES, _FLOAT32, ["batch", len(cell.labels)]), ALL_SCORES))
    return told


def _asked(cell: Cell, sampler: Sampler) -> list[Value]:
    """Return the inputs that say how tokens are settled."""
    each_step, changes = ("steps", *_ROWS), ["changes"]
    asked = [Value(of_sampler.FORCED, _INT64, each_step)]
    if not cell.writes:
        return asked
    if sampler.samples:
        asked.append(Value(of_sampler.UNIFORM, _FLOAT32, each_step))
        asked.append(Value(of_sampler.INVERSE_TEMPERATURE, _FLOAT32, _ROWS))
    if sampler.ranks:
        asked.append(Value(of_sampler.LIMIT, _INT64, [1]))
        asked.append(Value(of_sampler.TOP_K, _INT64, _ROWS))
    if sampler is Sampler.SHAPING:
        asked += [
            Value(of_sampler.TOP_P, _FLOAT32, _ROWS),
            Value(of_sampler.LOG_MIN_P, _FLOAT32, _ROWS),
            Value(of_sampler.CHANGE_ROW, _INT64, changes),
            Value(of_sampler.CHANGE_TOKEN, _INT64, changes),
            Value(of_sampler.CHANGE_PENALTY, _FLOAT32, changes),
            Value(of_sampler.CHANGE_BIAS, _FLOAT32, changes),
        ]
    return asked
