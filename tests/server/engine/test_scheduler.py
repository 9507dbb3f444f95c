"""The sessions of each run; test_engine.py tests the order of their turns."""

from __future__ import annotations

import pytest
from tests.server.one_session import some_tokens
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.session.events import Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Complete, Generate
from cellwire.server.state.arena import Arena


def test_a_batch_is_filled_to_the_last_row() -> None:
    stepper = PlainStepper()
    engine = Engine(stepper, Arena(100), Limits(), max_sessions=4, max_batch=3)
    for number in range(4):
        engine.handle(OpenSession(str(number), 0, number, 4))
        engine.handle(SubmitOperation(str(number), some_tokens(1, 2, 3, 4)))
    while not engine.idle:
        engine.step(1)
    assert stepper.batches == [3, 3, 3, 3]


def engine_with(stepper: PlainStepper, sessions: int) -> Engine:
    limits = Limits(read_ahead_tokens=100_000)
    engine = Engine(stepper, Arena(500), limits, max_sessions=sessions, max_batch=64)
    for number in range(sessions):
        engine.handle(OpenSession(str(number), 0, number, 4))
        engine.handle(SubmitOperation(str(number), some_tokens(number % 7)))
    engine.step()
    return engine


@pytest.mark.parametrize(
    "single_step",
    [
        Generate(3, 1_000, Sampling(repetition_penalty=1.5)),
        Generate(3, 1_000, Sampling(), alternatives=2),
    ],
)
def test_a_single_step_row_shortens_no_other_run(single_step: Generate) -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 5)
    for number in range(4):
        engine.handle(SubmitOperation(str(number), Generate(2, 1_000, Sampling())))
    engine.handle(SubmitOperation("4", single_step))
    tokens = dict.fromkeys(map(str, range(5)), 0)
    for _ in range(30):
        for event in engine.step():
            assert isinstance(event, Written)
            tokens[event.session_id] += len(event.tokens)
    assert stepper.batches[-30:] == [4, 4, 4, 4, 1, 1] * 5
    assert tokens["4"] == 10
    assert all(tokens[str(number)] >= 19 * MAX_STEPS for number in range(4))


def test_multi_step_rows_have_at_least_every_second_turn() -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 8)
    for number in range(6):
        engine.handle(SubmitOperation(str(number), Complete(2, number + 2, 1, 1_000)))
    engine.handle(SubmitOperation("6", Generate(2, 1_000, Sampling(), alternatives=1)))
    engine.handle(SubmitOperation("7", Generate(2, 1_000, Sampling())))
    plain = [any(event.session_id == "7" for event in engine.step()) for _ in range(60)]
    assert all(any(plain[run : run + 3]) for run in range(58))  # between pairs of single steps
    assert sum(plain) >= 60 * 4 // 9


def test_rows_with_adjusted_logits_run_apart_from_plain_ones() -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 6)
    for number in range(4):
        engine.handle(SubmitOperation(str(number), Generate(2, 1_000, Sampling())))
    for number in (4, 5):
        engine.handle(SubmitOperation(str(number), Generate(3, 1_000, Sampling(top_p=0.5))))
    steps = engine.stats().steps
    for _ in range(10):
        engine.step()
    assert stepper.batches[-10:] in ([4, 2] * 5, [2, 4] * 5)
    assert engine.stats().steps > steps + 10 * MAX_STEPS // 2
