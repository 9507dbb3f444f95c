"""Searches as on a card: unrolled, and with a TopK that fills up with places that do not exist."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.program_runs import batch_of as rows_of
from tests.server.program_runs import one_step
from tests.server.programs.card_topk import ReferenceCompiled
from tests.server.programs.test_beam_program import TEXT_SLOT, beams_of, endings, steps_of
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.beam_step import (
    BeamBatch,
    BeamBatchResult,
    BeamResult,
    batch_of,
    beam_results,
)
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.slots import ZERO
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.runtime.beam_runner import BeamRunner
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Completed, Completion
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete
from cellwire.server.state.arena import Arena

SLOTS = 200
ROWS = 32
HIDDEN = 8
UNKNOWN = 16  # "q"
MOST_SYMBOLS = frozenset(range(len(SYMBOLS))) - {4}

Composed = Callable[[bytes], Compiled]


class CardRuntime(Runtime):
    """A runtime whose searches run unrolled, in programs that `compiled` makes."""

    def __init__(self, cell: Cell, compiled: Composed) -> None:
        super().__init__(cell, SLOTS, ROWS)
        one_step(self, rows_of(1, token=[3], read_slot=[ZERO], write_slot=[TEXT_SLOT]))
        programs: dict[BeamProgram, Compiled] = {}

        def program_of(program: BeamProgram) -> Compiled:
            if program not in programs:
                programs[program] = compiled(compose_beam_program(cell, program))
            return programs[program]

        arenas = {state.name: Buffer(self.state(state.name)) for state in cell.states}
        self._beam_runner = BeamRunner(program_of, arenas, len(SYMBOLS), unrolled=True)


def on_card(serialized: bytes) -> Compiled:
    return ReferenceCompiled(serialized, card=True)


def on_host(serialized: bytes) -> Compiled:
    return ReferenceCompiled(serialized, card=False)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """A cell with a symbol that is not written."""
    vocabulary = {"kind": "words", "symbols": [*SYMBOLS], "unknown": SYMBOLS[UNKNOWN]}
    path = tmp_path_factory.mktemp("models") / "unknown.onnx"
    return read_cell(write_cell(path, lstm_cell(HIDDEN, vocabulary=vocabulary)))


@pytest.fixture(scope="module")
def card(cell: Cell) -> CardRuntime:
    return CardRuntime(cell, on_card)


@pytest.fixture(scope="module")
def host(cell: Cell) -> CardRuntime:
    return CardRuntime(cell, on_host)


def search(width: int, ending: CompletionEnd, steps: int) -> BeamBatch:
    """Two searches on one text; the second may only end by its length."""
    beams = beams_of([Complete(1, width, 1, 99, end=end) for end in (ending, CompletionEnd())])
    return batch_of([beam.input(3 + n, TEXT_SLOT) for n, beam in enumerate(beams)], steps)


def texts_of(result: BeamResult) -> list[object]:
    """The living hypotheses after each step, those that ended with it, and the greedy one.

    Which rows the dead take among the living is left out.
    """
    texts: list[tuple[int, ...]] = [()] * len(result.steps[0].token)
    steps: list[object] = []
    for step in result.steps:
        ended = [
            (*texts[parent], token, log)
            for parent, token, log in zip(
                step.ended_parent, step.ended_token, step.ended_log_probability, strict=True
            )
            if log > -math.inf
        ]
        living = [log > -math.inf for log in step.log_probability]
        texts = [
            (*texts[parent], token) if lives else ()
            for parent, token, lives in zip(step.parent, step.token, living, strict=True)
        ]
        logs = [log for log in step.log_probability if log > -math.inf]
        steps.append([ended, [text for text in texts if text], logs])
    return [*steps, texts[result.greedy]]


def check_same(found: BeamBatchResult, expected: BeamBatchResult) -> None:
    """Check that two runs found the same, bit for bit."""
    for one, other in zip(beam_results(found), beam_results(expected), strict=True):
        assert texts_of(one) == texts_of(other)


@settings(max_examples=20)
@given(width=st.integers(1, 9), ending=endings, steps=st.sampled_from([1, 4]))
def test_what_a_cards_topk_fills_in_is_no_hypothesis(
    card: CardRuntime, host: CardRuntime, width: int, ending: CompletionEnd, steps: int
) -> None:
    batch = search(width, ending, steps)
    check_same(card.step_beams(batch), host.step_beams(batch))


@pytest.mark.parametrize("tokens", [{1}, MOST_SYMBOLS, {UNKNOWN}, MOST_SYMBOLS | {4}])
@pytest.mark.parametrize("width", [5, 64])
def test_fewer_hypotheses_live_than_the_search_is_wide(
    card: CardRuntime, host: CardRuntime, width: int, tokens: set[int]
) -> None:
    """With 64 rows, places are ranked by radix; the first step of any search has one live row."""
    batch = search(width, CompletionEnd(frozenset(tokens)), 4)
    check_same(card.step_beams(batch), host.step_beams(batch))


@pytest.mark.parametrize("width", [3, 64])
@pytest.mark.parametrize("tokens", [{2, 7, 11}, MOST_SYMBOLS])
def test_a_completion_that_may_end_early_is_the_hosts(
    card: CardRuntime, host: CardRuntime, width: int, tokens: set[int]
) -> None:
    complete = Complete(2, width, 3, 6, end=CompletionEnd(frozenset(tokens)))
    found = completed(card, complete)
    assert found == completed(host, complete)
    assert found
    assert all(token < len(SYMBOLS) for completion in found for token in completion.tokens)


def completed(runtime: Runtime, complete: Complete) -> tuple[Completion, ...]:
    engine = Engine(runtime, Arena(SLOTS - 2), Limits(), max_sessions=1, max_batch=ROWS)
    engine.handle(OpenSession("s", 0, 1, 4))
    engine.handle(SubmitOperation("s", Append(1, np.array([1, 2], np.uint32))))
    engine.handle(SubmitOperation("s", complete))
    events = engine.step()
    while not engine.idle:
        events += engine.step()
    event = events[-1]
    assert isinstance(event, Completed)
    return event.completions


@settings(max_examples=20)
@given(width=st.integers(1, 6), ending=endings, steps=st.sampled_from([1, 4, 16]))
def test_unrolled_is_the_loop_bit_for_bit(
    cell: Cell, loop: Runtime, unrolled: CardRuntime, width: int, ending: CompletionEnd, steps: int
) -> None:
    batch = search(width, ending, steps)
    expected, found = loop.step_beams(batch), unrolled.step_beams(batch)
    assert [steps_of(b) for b in beam_results(found)] == [
        steps_of(b) for b in beam_results(expected)
    ]
    assert (found.greedy == expected.greedy).all()
    for name in (state.name for state in cell.states):
        slots = batch.write_slot.reshape(-1)
        assert (unrolled.state(name)[slots] == loop.state(name)[slots]).all()


@pytest.fixture(scope="module")
def loop(cell: Cell) -> Runtime:
    runtime = Runtime(cell, SLOTS, ROWS)
    one_step(runtime, rows_of(1, token=[3], read_slot=[ZERO], write_slot=[TEXT_SLOT]))
    return runtime


@pytest.fixture(scope="module")
def unrolled(cell: Cell) -> CardRuntime:
    return CardRuntime(cell, Compiled)


def test_a_nan_is_reported_where_it_is(tmp_path: Path) -> None:
    made = lstm_cell(HIDDEN)
    table = next(c for c in made.constants if c.name == "table")
    weights = np.frombuffer(table.raw_data, np.float32).reshape(len(SYMBOLS), -1).copy()
    weights[3] = np.nan  # of the token that the first search reads
    table.raw_data = weights.tobytes()
    runtime = CardRuntime(read_cell(write_cell(tmp_path / "breaks.onnx", made)), on_card)
    runtime.write_state(TEXT_SLOT, runtime.read_state(ZERO))
    result = runtime.step_beams(search(3, CompletionEnd(frozenset({1})), 1))
    assert result.broken.tolist() == [True, False]
