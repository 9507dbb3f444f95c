"""Beam searches on a device: the hypotheses and the ends that the CPU finds."""

from __future__ import annotations

import numpy as np
import pytest
from tests.gpu.hypotheses import Text, assert_same_searches, assert_same_texts, first_steps, found
from tests.gpu.step_batches import on, states, tolerance
from tests.server.tiny_cell import SYMBOLS

from cellwire.model_file.cell import Cell
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.slots import RESERVED_SLOTS
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Completed
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete
from cellwire.server.state.arena import Arena

SLOTS, MOST = 300, 128

LETTERS = frozenset(range(26))
NO_LETTER = CompletionEnd(frozenset(range(len(SYMBOLS))) - LETTERS, after=LETTERS)
NEARLY_ALL = CompletionEnd(frozenset(range(2, len(SYMBOLS))))
ALL = CompletionEnd(frozenset(range(len(SYMBOLS))))

SEARCHES = {
    "to_a_length": first_steps(4, 3, MAX_LENGTH_ONLY, MAX_LENGTH_ONLY),
    "of_words": first_steps(4, 3, NO_LETTER, NO_LETTER),
    "of_words_and_to_a_length": first_steps(4, 5, NO_LETTER, MAX_LENGTH_ONLY, NEARLY_ALL),
    "greedy": first_steps(4, 1, NO_LETTER),
    # More rows than there are symbols: the first step has not enough extensions.
    "wide": first_steps(4, 64, NO_LETTER),
    "wide_one_step": first_steps(1, 64, MAX_LENGTH_ONLY),
    # Most symbols end the completion, so the rows that go on are few.
    "most_symbols_end": first_steps(1, 16, NEARLY_ALL, NEARLY_ALL),
    "all_symbols_end": first_steps(4, 4, ALL),
    "no_end_yet": first_steps(4, 16, NEARLY_ALL, may_end=False),
    "long": first_steps(16, 3, NO_LETTER),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_find_what_the_cpu_finds(cell: Cell, device: Device, search: str) -> None:
    batch = SEARCHES[search]
    here, there = (Runtime(cell, SLOTS, MOST, way) for way in (Execution(), on(device)))
    expected, ours = (found(batch, runtime.step_beams(batch)) for runtime in (here, there))
    assert_same_searches(expected, ours, 2 * tolerance(device))
    alive = np.arange(RESERVED_SLOTS, RESERVED_SLOTS + batch.token.size)
    if len(expected[0][-1].alive) == batch.token.shape[1]:  # all rows, in the same order
        apart = np.abs(states(here, SLOTS) - states(there, SLOTS))[alive]
        assert apart.max() <= 10 * tolerance(device)


COMPLETES = {
    "to_a_length": Complete(2, 5, 5, 12),
    "of_words": Complete(2, 5, 5, 12, end=NO_LETTER),
    "of_words_by_length": Complete(2, 8, 8, 20, length_penalty=0.7, end=NO_LETTER),
    "wide": Complete(2, 64, 10, 6, end=NO_LETTER),
    "most_symbols_end": Complete(2, 16, 16, 6, end=NEARLY_ALL),
    "all_symbols_end": Complete(2, 4, 4, 6, end=ALL),
}


def completions(cell: Cell, execution: Execution, complete: Complete) -> list[dict[Text, float]]:
    """What three sessions are completed by, by an engine: in several runs, all in one batch."""
    arena = Arena(SLOTS)
    runtime = Runtime(cell, arena.slots, MOST, execution)
    engine = Engine(runtime, arena, Limits(), max_sessions=9, max_batch=MOST)
    for n in range(3):
        engine.handle(OpenSession(str(n), 0, n, 20))
        engine.handle(SubmitOperation(str(n), Append(1, np.arange(n + 2, dtype=np.uint32))))
        engine.handle(SubmitOperation(str(n), complete))
    events = []
    while not engine.idle:
        events += engine.step()
    engine.check_integrity()
    answers = [event for event in events if isinstance(event, Completed)]
    answers.sort(key=lambda completed: completed.session_id)
    assert len(answers) == 3
    return [{c.tokens: c.log_probability for c in answer.completions} for answer in answers]


@pytest.mark.parametrize("kind", COMPLETES)
def test_an_engine_completes_as_on_the_cpu(cell: Cell, device: Device, kind: str) -> None:
    complete = COMPLETES[kind]
    expected, ours = (completions(cell, way, complete) for way in (Execution(), on(device)))
    for theirs, found_here in zip(expected, ours, strict=True):
        assert_same_texts(theirs, found_here, complete.max_tokens * tolerance(device))
