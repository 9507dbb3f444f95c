"""A cell tried before it serves: a few texts, each alone and in company.

The graph's types say what goes in and out. Only a run shows whether the cell takes several texts at
once, whether a text is computed by itself, and whether what comes out are logits.

Three texts are read for a few steps, each alone. Then the same steps are run with the texts
together, in every place of the batch and with other neighbours. A text must come out with the same
bits. If it does not, but differs by no more than rounding, the cell is served with a note: its
texts then depend on the load in the last bit. Anything more is what one user's text says to
another's: a fault.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import dataclass

import numpy as np

from cellwire.model_file import trial_texts
from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS, STATE
from cellwire.model_file.trial_run import (
    Arrays,
    CellFailed,
    CellRun,
    Row,
    TrialEnds,
    TrialRun,
    difference,
    next_state,
)

_TEXTS = 3
_STEPS = 8
_ORDERS = (
    *itertools.permutations(range(_TEXTS), 2),
    *itertools.permutations(range(_TEXTS)),
)
_COUNTS = (4, 5, 6, 7)  # of rows of a batch
_MANY = 33
_MAX_TOKENS = 256  # of the vocabulary that are tried

# Differences that are no more than rounding, as shares of a tensor's greatest value.
_ROUNDING = 1e-4
_CARD_ROUNDING = 1e-2  # kernels of other shapes add in another order; never tried on a GPU

_SUM_ERROR = 1e-3  # of probabilities, which may be half precision
_LOUD = 64.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a trial found."""

    faults: tuple[str, ...]  # none of a cell that can be served
    notes: tuple[str, ...]  # what its users should know


def try_cell(cell: Cell, run: CellRun, *, exact: bool = True) -> Findings:
    """Try a cell. `exact` says whether `run` should give a row the same bits in every batch."""
    return _Trial(cell, run, exact=exact).findings()


class _Trial:
    def __init__(self, cell: Cell, run: CellRun, *, exact: bool) -> None:
        self._cell = cell
        self._run = TrialRun(cell, run)
        self._exact = exact
        self._random = np.random.default_rng(0)
        self._size = cell.manifest.vocabulary.size
        self._faults: dict[str, None] = {}  # each once, in the order in which they were found
        self._notes: dict[str, None] = {}

    def findings(self) -> Findings:
        try:
            self._try()
        except TrialEnds as fault:
            self._faults[str(fault)] = None
        if self._cell.memoryless:
            self._notes[trial_texts.MEMORYLESS] = None
        return Findings(tuple(self._faults), tuple(self._notes))

    def _try(self) -> None:
        steps = self._read_alone()
        self._check_repeats(steps[-1][0])
        tokens = self._read_tokens()
        if self._cell.generates:
            self._check_logits([*(row.outputs for step in steps for row in step), tokens])
        self._check_company(steps)
        self._check_token_matters(steps[-1][0], tokens)
        self._check_states_matter(steps)

    def _read_alone(self) -> list[list[Row]]:
        """Read the texts, each alone; return the rows of each step."""
        tokens = self._random.integers(self._size, size=(_STEPS, _TEXTS))
        tokens[0] = 0, self._size - 1, self._size // 2
        steps: list[list[Row]] = []
        states = [self._run.zeros(1)] * _TEXTS
        for step in tokens.tolist():
            rows = [self._read(token, state) for token, state in zip(step, states, strict=True)]
            states = [next_state(row.outputs) for row in rows]
            steps.append(rows)
        return steps

    def _read(self, token: int, state: Arrays) -> Row:
        try:
            outputs = self._run.step([token], state)
        except CellFailed as error:
            raise TrialEnds(self._why_alone_fails(token, error)) from error
        self._check_finite(outputs, [token])
        return Row(token, state, outputs)

    def _why_alone_fails(self, token: int, error: CellFailed) -> str:
        """Return the fault of a text that fails alone: its token, or the number of texts."""
        for count in range(2, 1 + _TEXTS):
            with contextlib.suppress(CellFailed):
                self._run.step([token] * count, self._run.zeros(count))
                return trial_texts.BAKED_BATCH.format(rows="1", reason=error)
        return trial_texts.token_fails(token, self._size, error)

    def _read_tokens(self) -> Arrays:
        """Read a text of one token for each token, or for many of them and both ends."""
        count = max(2, min(self._size, _MAX_TOKENS, self._run.max_rows))
        tokens = np.unique(np.linspace(0, self._size - 1, count).astype(np.int64)).tolist()
        try:
            outputs = self._run.step(tokens, self._run.zeros(len(tokens)))
        except CellFailed as error:
            raise TrialEnds(self._why_together_fails(tokens, error)) from error
        self._check_finite(outputs, tokens)
        return outputs

    def _why_together_fails(self, tokens: list[int], error: CellFailed) -> str:
        """Return the fault of a failed batch: its number of rows, or one of its tokens."""
        for count in range(2, 1 + _TEXTS):
            try:
                self._run.step([0] * count, self._run.zeros(count))
            except CellFailed as fewer:
                return trial_texts.BAKED_BATCH.format(rows=count, reason=fewer)
        return trial_texts.BAKED_BATCH.format(rows=len(tokens), reason=error)

    def _check_finite(self, outputs: Arrays, tokens: list[int]) -> None:
        if broken := self._run.not_finite(outputs):
            name, place = broken
            self._faults[trial_texts.NOT_FINITE.format(name=name, token=tokens[place])] = None

    def _check_repeats(self, row: Row) -> None:
        if self._run.changes(row, row.token, row.state):
            operators = {node.op_type for node in self._cell.graph.graph.node}
            raise TrialEnds(trial_texts.not_repeated(operators))

    def _check_logits(self, outputs: list[Arrays]) -> None:
        logits = np.concatenate([arrays[LOGITS] for arrays in outputs]).astype(np.float64)
        if not np.isfinite(logits).all() or (logits < 0).any() or not logits.any():
            return
        if (np.abs(logits.sum(axis=1) - 1) < _SUM_ERROR).all():
            self._faults[trial_texts.PROBABILITIES] = None
        elif (logits <= 1).all():
            self._notes[trial_texts.PERHAPS_PROBABILITIES] = None

    def _check_company(self, steps: list[list[Row]]) -> None:
        """Run the texts together, in every place and number, and with other neighbours."""
        for step, order in itertools.product((*steps[:2], steps[-1]), _ORDERS):
            if self._hears([step[place] for place in order]):
                return
        rows = [row for step in steps for row in step]
        # Numbers are computed by vectors of four or more, and those that are left over at the end
        # often by another kernel: few round differently, so each row is the last of some batch.
        counts = itertools.cycle(_COUNTS)
        for last, count in (*zip(range(len(rows)), counts, strict=False), (0, _MANY)):
            company = [rows[(last - place) % len(rows)] for place in reversed(range(count))]
            if count <= self._run.max_rows and self._hears(company):
                return
        for step in (steps[1], steps[-1]):
            self._check_loud_company(step)

    def _hears(self, rows: list[Row]) -> bool:
        """Run rows together; whether that shows a fault."""
        try:
            outputs = self._run.together(rows)
        except CellFailed as error:
            fault = trial_texts.BAKED_BATCH.format(rows=len(rows), reason=error)
            raise TrialEnds(fault) from error
        return any(self._differs(row, outputs, place) for place, row in enumerate(rows))

    def _check_loud_company(self, step: list[Row]) -> None:
        """Run a row beside great states, and such as are not numbers: a whisper becomes audible."""
        for place, factor in itertools.product((0, _TEXTS - 1), (_LOUD, math.nan)):
            factors = [1.0 if other == place else factor for other in range(_TEXTS)]
            try:
                outputs = self._run.together(step, factors)
            except CellFailed:  # not a state that the cell can have
                continue
            if self._differs(step[place], outputs, place):
                return

    def _differs(self, row: Row, outputs: Arrays, place: int) -> bool:
        """Compare a row alone with itself in company; whether that shows a fault."""
        for name in self._run.shapes:
            apart = difference(row.outputs[name][0], outputs[name][place])
            if apart > (_ROUNDING if self._exact else _CARD_ROUNDING):
                self._faults[trial_texts.HEARS_OTHERS.format(name=name)] = None
                return True
            if apart and self._exact:
                self._notes[trial_texts.ROUNDING] = None
        return False

    def _check_token_matters(self, row: Row, first: Arrays) -> None:
        """Find a token that changes nothing: neither in a new text nor in one that goes on."""
        for name in self._run.shapes:
            if len({output.tobytes() for output in first[name]}) > 1:
                return
        tokens = (0, self._size - 1, self._size // 2)
        if not any(self._run.changes(row, token, row.state) for token in tokens):
            self._faults[trial_texts.CHANGES_NOTHING.format(name="token")] = None

    def _check_states_matter(self, steps: list[list[Row]]) -> None:
        """Find states that change nothing while others do."""
        silent = [s.name for s in self._cell.states if not self._state_matters(steps, s.name)]
        if len(silent) == len(self._cell.states):
            self._notes[trial_texts.MEMORYLESS] = None
            return
        for name in silent:
            self._faults[trial_texts.CHANGES_NOTHING.format(name=STATE + name)] = None

    def _state_matters(self, steps: list[list[Row]], name: str) -> bool:
        row = steps[-1][0]
        own = row.state[name]
        noise = self._random.normal(size=own.shape).astype(np.float32)
        others = [other.state[name] for step in steps for other in step]
        return any(
            self._run.changes(row, row.token, {**row.state, name: other})
            for other in (*others, noise)
            if (other != own).any()
        )
