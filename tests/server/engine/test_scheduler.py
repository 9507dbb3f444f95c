"""Who takes part in a step; test_engine.py has what that means for everybody's turn."""

from __future__ import annotations

from tests.server.one_session import some_tokens
from tests.server.plain_stepper import PlainStepper

from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.session.operation_queue import Limits
from cellwire.server.state.arena import Arena


def test_a_step_is_filled_to_the_last_row() -> None:
    stepper = PlainStepper()
    engine = Engine(stepper, Arena(100), Limits(), max_sessions=4, max_batch=3)
    for number in range(4):
        engine.handle(OpenSession(str(number), 0, number, 4))
        engine.handle(SubmitOperation(str(number), some_tokens(1, 2, 3, 4)))
    while not engine.idle:
        engine.step(1)
    assert stepper.batches == [3, 3, 3, 3]
