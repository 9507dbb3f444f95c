"""An engine on the card: the same answers as on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tests.server.card.conftest import MOST, RuntimeOn
from tests.server.card.results import CLOSE
from tests.server.tiny_cell import SYMBOLS

from cellwire.model_file.cell import Cell
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.sampling import Bias, Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.runtime.device import CPU, Device
from cellwire.server.session.events import Closed, Completed, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Generate, Operation, Rewind
from cellwire.server.state.arena import Arena

SESSIONS = 6
SELDOM = CompletionEnd(frozenset({1}), after=frozenset({2, 3, 4}))
ALWAYS = CompletionEnd(frozenset(range(len(SYMBOLS))))


def engine_on(
    runtime_on: RuntimeOn,
    cell: Cell,
    device: Device,
    slots: int = 100,
    *,
    fixed_batch: bool = False,
) -> Engine:
    arena = Arena(slots)
    runtime = runtime_on(cell, device, slots=arena.slots, fixed_batch=fixed_batch)
    limits = Limits(read_ahead_tokens=1_000)
    engine = Engine(runtime, arena, limits, max_sessions=99, max_batch=MOST)
    for number in range(SESSIONS):
        engine.handle(OpenSession(str(number), 0, number, 20))
    return engine


def carry_out(
    engine: Engine, operations: Sequence[Operation], *, in_turn: bool = False
) -> list[Event]:
    """Let the sessions carry out each operation, together or in turn."""
    events: list[Event] = []
    for operation in operations:
        for number in range(SESSIONS):
            engine.handle(SubmitOperation(str(number), operation))
            while in_turn and not engine.idle:
                events += engine.step()
        while not engine.idle:
            events += engine.step()
    engine.check_integrity()
    assert not any(isinstance(event, Rejected | Closed) for event in events)
    return events


def written(events: list[Event]) -> dict[str, list[int]]:
    texts: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Written):
            texts.setdefault(event.session_id, []).extend(event.tokens)
    return texts


def completions(events: list[Event]) -> list[tuple[tuple[int, ...], float, bool]]:
    return [
        (tuple(found.tokens), found.log_probability, found.ended)
        for event in events
        if isinstance(event, Completed)
        for found in event.completions
    ]


def check_completions(found: list[Event], expected: list[Event]) -> None:
    ours, theirs = completions(found), completions(expected)
    assert [text for text, _, _ in ours] == [text for text, _, _ in theirs]
    assert [ended for _, _, ended in ours] == [ended for _, _, ended in theirs]
    logs = [[log for _, log, _ in side] for side in (ours, theirs)]
    assert logs[0] == pytest.approx(logs[1], abs=CLOSE)


TEXT = Append(1, np.arange(9, dtype=np.uint32) % 5)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=3),
        Sampling(temperature=0),
        Sampling(seed=3, top_k=4),
        Sampling(seed=3, top_p=0.8, min_p=0.01),
        Sampling(seed=3, repetition_penalty=1.3, logit_bias=(Bias(4, 2.0), Bias(5, -3.0))),
    ],
)
@pytest.mark.parametrize("alternatives", [0, 2])
def test_sessions_write_what_they_write_on_the_cpu(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, sampling: Sampling, alternatives: int
) -> None:
    operations: list[Operation] = [
        TEXT,
        Generate(2, 23, sampling, alternatives=alternatives),
        Rewind(3, tokens=7),
        Complete(4, 4, 2, 5),
        Generate(5, 9, sampling),
    ]
    here, there = (
        carry_out(engine_on(runtime_on, cell, device), operations) for device in (CPU, cuda)
    )
    assert written(there) == written(here)
    check_completions(there, here)


@pytest.mark.parametrize("width", [9, 40])
@pytest.mark.parametrize("end", [SELDOM, ALWAYS])
def test_completions_that_may_end_are_those_of_the_cpu(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, width: int, end: CompletionEnd
) -> None:
    complete = Complete(2, width, min(width, 32), 6, 1.0, end)
    here, there = (
        carry_out(engine_on(runtime_on, cell, device, 600), [TEXT, complete])
        for device in (CPU, cuda)
    )
    check_completions(there, here)


@pytest.mark.parametrize("max_tokens", [1, 3])
def test_a_search_of_the_greatest_width_finds_what_it_finds_on_the_cpu(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, max_tokens: int
) -> None:
    """Its first step has fewer extensions than it has rows."""
    complete = Complete(2, 64, 64, max_tokens, 1.0, MAX_LENGTH_ONLY)
    here, there = (
        carry_out(engine_on(runtime_on, cell, device, 600), [TEXT, complete])
        for device in (CPU, cuda)
    )
    check_completions(there, here)


def test_parked_sessions_go_on_as_if_they_had_not_been(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    operations: list[Operation] = [
        TEXT,
        Generate(2, 20, Sampling()),
        Complete(4, 3, 2, 4),
        Generate(5, 9, Sampling()),
    ]
    few, many = (engine_on(runtime_on, cell, cuda, slots, fixed_batch=True) for slots in (10, 100))
    events, expected = (carry_out(engine, operations, in_turn=True) for engine in (few, many))
    assert written(events) == written(expected)
    assert completions(events) == completions(expected)
    parked = [few.describe(str(number)).parked for number in range(SESSIONS)]
    assert any(parked)
