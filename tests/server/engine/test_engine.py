"""Runs of an engine: fair turns, isolated failures, read-ahead, and copies of sessions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS, StepBatch, StepResult
from cellwire.server.engine.commands import (
    CancelOperation,
    CloseSession,
    GrantTokens,
    OpenSession,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import StepFailed
from cellwire.server.session.events import Appended, Closed, Event, Finished, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for

WINDOW = 4


def engine_with(stepper: PlainStepper, sessions: int, max_batch: int = 64) -> Engine:
    arena = Arena(sessions * slots_for(WINDOW))
    limits = Limits(read_ahead_tokens=10_000)
    engine = Engine(stepper, arena, limits, max_sessions=sessions, max_batch=max_batch)
    for index in range(sessions):
        engine.handle(OpenSession(str(index), 0, index, WINDOW))
        engine.handle(SubmitOperation(str(index), Append(1, np.array([index % 7], np.uint32))))
    assert all(not isinstance(event, Closed) for event in engine.step())
    return engine


def generate(max_tokens: int) -> Generate:
    return Generate(2, max_tokens, Sampling())


def run(engine: Engine, max_steps: int = MAX_STEPS) -> list[Event]:
    events = engine.step(max_steps)
    while not engine.idle:
        events += engine.step(max_steps)
    engine.check_integrity()
    return events


def written(events: list[Event], session_id: str) -> list[int]:
    return [
        token
        for event in events
        if isinstance(event, Written) and event.session_id == session_id
        for token in event.tokens
    ]


def test_rows_join_and_leave_the_batch_at_every_step() -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 4)
    for index in range(4):
        engine.handle(SubmitOperation(str(index), generate(10 * (index + 1))))
    run(engine, max_steps=1)
    assert stepper.batches == [4] * 10 + [3] * 10 + [2] * 10 + [1] * 10


def test_a_run_takes_several_steps_unless_a_session_needs_fewer() -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 4)
    engine.handle(SubmitOperation("0", generate(4 * MAX_STEPS)))
    run(engine)
    assert engine.steps == 4 * MAX_STEPS
    assert stepper.batches == [1] * 4
    engine.handle(SubmitOperation("0", generate(100)))
    engine.handle(SubmitOperation("1", Append(3, np.array([1, 2, 3], np.uint32))))
    events = engine.step()
    assert [type(event) for event in events] == [Written, Appended]
    assert engine.steps == 4 * MAX_STEPS + 3


def test_a_run_has_the_fewest_steps_that_its_longest_row_fits_in() -> None:
    class FewLengths(PlainStepper):
        def supported_steps(self, steps: int) -> int:
            return max(supported for supported in (1, 4, 16) if supported <= steps)

    engine = engine_with(FewLengths(), 1)
    found = []
    for tokens in (16, 9, 4, 3, 2, 1):
        engine.handle(SubmitOperation("0", generate(tokens)))
        steps = engine.steps
        assert len(written(run(engine, max_steps=20), "0")) == tokens
        found.append(engine.steps - steps)
    assert found == [16, 16, 4, 4, 4, 1]


def test_every_session_has_a_turn_before_any_has_a_second() -> None:
    engine = engine_with(PlainStepper(), 10, max_batch=3)
    for index in range(10):
        engine.handle(SubmitOperation(str(index), generate(100)))
    counts = dict.fromkeys(map(str, range(10)), 0)
    for _ in range(200):
        for event in engine.step(max_steps=1):
            counts[event.session_id] += isinstance(event, Written)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_sessions_generate_the_same_text_together_and_alone() -> None:
    together = engine_with(PlainStepper(), 5)
    for index in range(5):
        together.handle(SubmitOperation(str(index), generate(50)))
    events = run(together)
    for index in range(5):
        alone = engine_with(PlainStepper(), 5)
        alone.handle(SubmitOperation(str(index), generate(50)))
        assert written(run(alone), str(index)) == written(events, str(index))


class FailingStepper(PlainStepper):
    """Fails once, in the first run with a row that reads `failing_token`."""

    failing_token = -1
    with_nan = False

    def step(self, batch: StepBatch) -> StepResult:
        result = super().step(batch)
        rows = np.flatnonzero(batch.token == self.failing_token)
        if not rows.size:
            return result
        self.failing_token = -1
        if not self.with_nan:
            raise StepFailed("the runtime failed")
        spoiled = result.log_probability.copy()
        spoiled[0, rows] = math.nan
        return replace(result, log_probability=spoiled)


def test_a_failed_step_closes_only_the_sessions_of_its_batch() -> None:
    stepper = FailingStepper()
    engine = engine_with(stepper, 4)
    engine.handle(SubmitOperation("0", generate(5)))
    engine.handle(SubmitOperation("1", generate(5)))
    stepper.failing_token = 1  # the text of session 1
    events = run(engine)
    closed = {e.session_id: e.error for e in events if isinstance(e, Closed)}
    assert closed.keys() == {"0", "1"}
    assert all(isinstance(error, StepFailed) for error in closed.values())
    engine.handle(SubmitOperation("2", generate(5)))
    assert len(written(run(engine), "2")) == 5
    assert engine.stats().sessions == 2


def test_a_result_that_is_not_a_number_closes_only_its_own_session() -> None:
    stepper = FailingStepper()
    stepper.with_nan = True
    engine = engine_with(stepper, 3)
    for index in range(3):
        engine.handle(SubmitOperation(str(index), generate(20)))
    stepper.failing_token = 1  # the text of session 1
    events = run(engine)
    assert [e.session_id for e in events if isinstance(e, Closed)] == ["1"]
    assert {e.session_id for e in events if isinstance(e, Finished)} == {"0", "2"}


def test_a_generate_stalls_without_credit_and_resumes_with_more() -> None:
    limits = Limits(read_ahead_tokens=4)
    engine = Engine(PlainStepper(), Arena(8), limits, max_sessions=1, max_batch=8)
    engine.handle(OpenSession("a", 0, 1, WINDOW))
    engine.handle(SubmitOperation("a", Append(1, np.array([3], np.uint32))))
    engine.handle(SubmitOperation("a", generate(10)))
    assert len(written(run(engine), "a")) == 4
    assert engine.idle
    engine.handle(GrantTokens("a", 5))
    assert len(written(run(engine), "a")) == 5
    engine.handle(GrantTokens("a", 100))
    events = run(engine)
    assert len(written(events, "a")) == 1
    assert isinstance(events[-1], Finished)


def test_descriptions_forks_and_snapshots_omit_the_tokens_held_back() -> None:
    engine = Engine(PlainStepper(), Arena(100), Limits(), max_sessions=9, max_batch=8)
    for session_id in ("first", "whole"):
        engine.handle(OpenSession(session_id, 0, 1, rewind_window=20))
        engine.handle(SubmitOperation(session_id, Append(1, np.array([3], np.uint32))))
    engine.handle(SubmitOperation("first", generate(20)))
    text = written(run(engine), "first")
    # Tokens that may begin the stop string are held back.
    stop = (*text[10:19], (text[19] + 1) % 7)
    engine.handle(SubmitOperation("whole", replace(generate(1_000), stop_strings=(stop,))))
    reported = 1 + sum(len(written(engine.step(max_steps=1), "whole")) for _ in range(19))
    assert reported < 20
    assert engine.describe("whole").offset == reported
    assert list(engine.describe("whole").tail) == [3, *text][:reported]
    assert engine.fork("whole", "fork", seed=1) == reported
    engine.restore("import", engine.snapshot("whole"))
    engine.handle(CloseSession("whole"))
    for copy in ("fork", "import"):
        engine.check_integrity()
        assert engine.describe(copy).offset == reported
        engine.handle(SubmitOperation(copy, generate(20)))
        assert written(run(engine), copy)[: 20 - reported] == text[reported - 1 : 19]


def test_a_command_for_an_unknown_session_has_no_effect() -> None:
    engine = engine_with(PlainStepper(), 1)
    engine.handle(SubmitOperation("unknown", generate(1)))
    engine.handle(CancelOperation("unknown", 1, 2))
    engine.handle(GrantTokens("unknown", 1))
    engine.handle(CloseSession("unknown"))
    assert run(engine) == []


def test_a_run_has_no_more_steps_than_its_longest_row() -> None:
    engine = engine_with(PlainStepper(), 2)
    before = engine.stats().steps
    engine.handle(SubmitOperation("0", generate(3)))
    engine.handle(SubmitOperation("1", generate(6)))
    run(engine)
    assert engine.stats().steps == before + 6
