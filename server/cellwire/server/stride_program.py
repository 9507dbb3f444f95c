"""The program of a stride: each row takes its steps, and each step settles the next token.

Beside what every program takes (see program.py):

    count                  int64[batch], how many steps each row takes; then it stays
    forced                 int64[steps, batch]
    uniform                float32[steps, batch]
    inverse_temperature    float32[batch]

and gives:

    chosen                 int64[steps, batch]
    log_probability        float32[steps, batch]
    scores                 float32[steps, batch, labels], if it has labels

Programs with more of a sampler (see sampler.py) have more inputs, and those that rank also give

    best_token, best_log_probability            [steps, batch, limit], the likeliest first
"""

from __future__ import annotations

from onnx import TensorProto

from cellwire.server import sampler as of_sampler
from cellwire.server.cell import NEXT_STATE, SCORES, STATE, Cell
from cellwire.server.graph import OWN, Collected, Graph, Value
from cellwire.server.program import KEPT, NEXT_TOKEN, NUMBER, Parts, assemble, step_of
from cellwire.server.sampler import Sampler, add_sampler, take_what_is_forced

COUNT = f"{OWN}count"
CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
BEST_TOKEN = f"{OWN}best_token"
BEST_LOG_PROBABILITY = f"{OWN}best_log_probability"
ALL_SCORES = f"{OWN}scores"

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT


def compose_stride(cell: Cell, sampler: Sampler) -> bytes:
    """Return a serialized program for a cell; ValueError if the cell takes our names."""
    step = step_of(cell)
    if cell.writes:
        add_sampler(step, sampler, NUMBER)
    else:
        take_what_is_forced(step, NUMBER)
    step.add("Identity", of_sampler.CHOSEN, name=NEXT_TOKEN)
    _stay_where_done(step, cell)
    inputs = [Value(COUNT, _INT64, ["batch"]), *_asked(cell, sampler)]
    return assemble(cell, Parts(step, Graph("around"), inputs, (), _collected(cell, sampler)))


def _stay_where_done(step: Graph, cell: Cell) -> None:
    """Let the states of rows that have taken all their steps stay as they are."""
    moves = step.add("Less", NUMBER, COUNT)  # [batch]
    for state in cell.states:
        each = step.add("Unsqueeze", moves, step.axes(*range(1, 1 + len(state.shape))))
        after, before = NEXT_STATE + state.name, STATE + state.name
        step.add("Where", each, after, before, name=KEPT + state.name)


def _collected(cell: Cell, sampler: Sampler) -> list[Collected]:
    """Return what every step has to tell."""
    logs, batch = of_sampler.LOG_PROBABILITY, "batch"
    told = [
        Collected(Value(of_sampler.CHOSEN, _INT64, [batch]), CHOSEN),
        Collected(Value(logs, _FLOAT32, [batch]), LOG_PROBABILITY),
    ]
    if cell.writes and sampler.reports_best:
        best, logs = [batch, "limit"], of_sampler.BEST_LOG_PROBABILITY
        told.append(Collected(Value(of_sampler.BEST_TOKEN, _INT64, best), BEST_TOKEN))
        told.append(Collected(Value(logs, _FLOAT32, best), BEST_LOG_PROBABILITY))
    if cell.labels:
        told.append(Collected(Value(SCORES, _FLOAT32, [batch, len(cell.labels)]), ALL_SCORES))
    return told


def _asked(cell: Cell, sampler: Sampler) -> list[Value]:
    """Return the inputs that say how tokens are settled."""
    each_step, rows, changes = ["steps", "batch"], ["batch"], ["changes"]
    asked = [Value(of_sampler.FORCED, _INT64, each_step)]
    if not cell.writes:
        return asked
    if sampler.samples:
        asked.append(Value(of_sampler.UNIFORM, _FLOAT32, each_step))
        asked.append(Value(of_sampler.INVERSE_TEMPERATURE, _FLOAT32, rows))
    if sampler.ranks:
        asked.append(Value(of_sampler.LIMIT, _INT64, [1]))
        asked.append(Value(of_sampler.TOP_K, _INT64, rows))
    if sampler is Sampler.SHAPING:
        asked += [
            Value(of_sampler.TOP_P, _FLOAT32, rows),
            Value(of_sampler.LOG_MIN_P, _FLOAT32, rows),
            Value(of_sampler.CHANGE_ROW, _INT64, changes),
            Value(of_sampler.CHANGE_TOKEN, _INT64, changes),
            Value(of_sampler.CHANGE_PENALTY, _FLOAT32, changes),
            Value(of_sampler.CHANGE_BIAS, _FLOAT32, changes),
        ]
    return asked
