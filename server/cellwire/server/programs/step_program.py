"""The step program: each row takes its steps, and each step chooses the row's next token.

A batch is *ragged* if some row takes fewer steps than the run has; such a row's state is held when
it has taken them all. The program of other batches holds none, and does not take `count`.

Inputs are the columns of a step batch (see columns.py), and for variants that rank tokens also

    limit                  int64[1], the number of top tokens to rank

Outputs:

    chosen                 int64[steps, batch, 1]
    log_probability        float32[steps, batch, 1]
    scores                 float32[steps, batch, labels], of a cell with labels
    top_token, top_log_probability      [steps, batch, limit], of variants that report top tokens

A program of a fixed shape has a fixed number of steps and a fixed limit. It has no loop, neither
`steps` nor `limit` as an input, and takes the columns packed (see packing.py). Runs of several
steps report no top tokens, so only a program of one step outputs them. What all steps can do at
once is done before the first or after the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS, NEXT_STATE, SCORES, STATE
from cellwire.server.programs import log_probabilities, sampler
from cellwire.server.programs.columns import columns_of
from cellwire.server.programs.draws import LIMIT
from cellwire.server.programs.graph import OWN, Graph, ScanOutput, Shape, Value
from cellwire.server.programs.program import (
    CARRIED_STATE,
    NEXT_TOKEN,
    ProgramParts,
    assemble,
    cell_step,
    of_step,
)
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_inputs import RUNNING, add_columns, add_packed, values_by_step

CHOSEN = f"{OWN}chosen"
LOG_PROBABILITY = f"{OWN}log_probability"
TOP_TOKEN = f"{OWN}top_token"
TOP_LOG_PROBABILITY = f"{OWN}top_log_probability"
ALL_SCORES = f"{OWN}scores"

_ALL_LOGITS = f"{OWN}logits"  # float32[steps, batch, vocabulary]

# Of a larger one, the logits of all steps take too much memory.
_MAX_COLLECTED_VOCABULARY = 1_024

_INT64, _FLOAT32 = TensorProto.INT64, TensorProto.FLOAT
_BY_ROW: Shape = ("batch", 1)
_BY_RANK: Shape = ("batch", "limit")
_OF_RUN = log_probabilities.Names(
    _ALL_LOGITS, CHOSEN, TOP_TOKEN, LOG_PROBABILITY, TOP_LOG_PROBABILITY
)


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """The shape that a program without a loop is made for."""

    steps: int
    limit: int  # of top tokens to rank; 0 if the variant ranks none


def takes_limit(cell: Cell, variant: SamplerVariant) -> bool:
    """Whether a cell's program ranks top tokens."""
    return cell.generates and variant.ranks_tokens


def gives_top_tokens(cell: Cell, variant: SamplerVariant, steps: int) -> bool:
    """Whether a run of so many steps outputs top tokens."""
    return cell.generates and variant.reports_top_tokens and steps == 1


def compose_step_program(
    cell: Cell, variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool = True
) -> bytes:
    """Return a serialized program.

    Without a `shape`, the program takes batches of any number of steps, and any limit. If it is not
    `ragged`, each row must take every step.
    """
    return _Composer(cell, variant, shape, ragged=ragged).compose()


class _Composer:
    """Puts one step program together."""

    def __init__(
        self, cell: Cell, variant: SamplerVariant, shape: ProgramShape | None, *, ragged: bool
    ) -> None:
        self._cell = cell
        self._variant = variant
        self._shape = shape
        self._ragged = ragged
        self._columns = columns_of(cell, variant, ragged=ragged)
        self._reports = gives_top_tokens(cell, variant, shape.steps if shape else 1)
        self._step, self._outer, self._after = cell_step(cell), Graph("outer"), Graph("after")
        # Outputs that are collected from every step, and values that only `after` reads.
        self._scanned: list[ScanOutput] = []
        self._collected: list[ScanOutput] = []
        self._final_outputs: list[Value] = []  # outputs that `after` defines

    def compose(self) -> bytes:
        """Return the serialized program."""
        steps = self._shape.steps if self._shape else None
        inputs = self._inputs()
        chosen = self._choose()
        if self._ragged:
            self._hold_finished_rows()
        self._add_log_probabilities(chosen)
        parts = ProgramParts(
            step=self._step,
            outer=self._outer,
            inputs=inputs,
            carried=(),
            scanned=self._scanned,
            final_outputs=self._final_outputs,
            collected=self._collected,
            after=self._after,
            next_state=CARRIED_STATE if self._ragged else NEXT_STATE,
            by_step=values_by_step(self._columns, steps) if steps else {},
        )
        return assemble(self._cell, parts, steps)

    def _inputs(self) -> list[Value]:
        """Return the inputs, with the nodes that take each step's parts from them."""
        shape, ranks = self._shape, takes_limit(self._cell, self._variant)
        if shape is None:
            limit = [Value(LIMIT, _INT64, [1])] if ranks else []
            return [*add_columns(self._step, self._columns), *limit]
        if ranks:
            self._outer.constant([shape.limit], np.int64, name=LIMIT)
        return add_packed(self._outer, self._columns, shape.steps)

    def _choose(self) -> str:
        """Choose the next tokens, and the top tokens to report; return the former's name."""
        step, labels = self._step, self._cell.labels
        limit = self._shape.limit if self._shape else None
        chosen = sampler.Sampler(
            step, self._outer, self._variant, self._cell, limit, reports=self._reports
        ).choose()
        step.add("Squeeze", chosen, step.axes(1), name=NEXT_TOKEN)
        self._scan(Value(chosen, _INT64, _BY_ROW), CHOSEN)
        if self._reports:
            self._scan(Value(sampler.STEP_TOP_TOKEN, _INT64, _BY_RANK), TOP_TOKEN)
        if labels:
            self._scan(Value(SCORES, _FLOAT32, ["batch", len(labels)]), ALL_SCORES)
        return chosen

    def _scan(self, value: Value, output: str) -> None:
        self._scanned.append(ScanOutput(value, output))

    def _hold_finished_rows(self) -> None:
        """Keep the state of each row that has taken all its steps."""
        step, running = self._step, of_step(RUNNING)  # [batch, 1]
        for state in self._cell.states:
            mask = running  # of as many dimensions as the state
            if not state.shape:
                mask = step.add("Squeeze", running, step.axes(1))
            elif len(state.shape) > 1:
                mask = step.add("Unsqueeze", running, step.axes(*range(2, 1 + len(state.shape))))
            after, before = NEXT_STATE + state.name, STATE + state.name
            step.add("Where", mask, after, before, name=CARRIED_STATE + state.name)

    def _add_log_probabilities(self, chosen: str) -> None:
        """Look log-probabilities up: after the last step, or in each step."""
        vocabulary = self._cell.manifest.vocabulary.size
        if not self._cell.generates:
            log_probabilities.set_to_zero(self._after, _OF_RUN)
        elif self._shape and vocabulary <= _MAX_COLLECTED_VOCABULARY:
            log_probabilities.look_up(self._after, _OF_RUN, reports=self._reports)
            logits = Value(LOGITS, _FLOAT32, ["batch", vocabulary])
            self._collected.append(ScanOutput(logits, _ALL_LOGITS))
        else:
            names = _names_of_step(chosen)
            log_probabilities.look_up(self._step, names, reports=self._reports)
            self._scan(Value(names.log_probability, _FLOAT32, _BY_ROW), LOG_PROBABILITY)
            if self._reports:
                value = Value(names.top_log_probability, _FLOAT32, _BY_RANK)
                self._scan(value, TOP_LOG_PROBABILITY)
            return
        self._final_outputs.append(Value(LOG_PROBABILITY, _FLOAT32, ["steps", *_BY_ROW]))
        if self._reports:
            self._final_outputs.append(Value(TOP_LOG_PROBABILITY, _FLOAT32, ["steps", *_BY_RANK]))


def _names_of_step(chosen: str) -> log_probabilities.Names:
    """Return the names of a step's values."""
    return log_probabilities.Names(
        LOGITS,
        chosen,
        sampler.STEP_TOP_TOKEN,
        f"{OWN}step.log_probability",
        f"{OWN}step.top_log_probability",
    )
