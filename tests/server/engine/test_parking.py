"""Parking: more sessions than slots, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import State
from cellwire.server.engine.commands import CloseSession, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotCompiled, NotFound, ResourceExhausted, StepFailed
from cellwire.server.session.events import Closed, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Accept,
    Append,
    Close,
    Complete,
    Generate,
    Operation,
    Rewind,
)
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for

WINDOW = 20
SLOTS_EACH = slots_for(WINDOW)


def engine_with(sessions: int, slots: int, stepper: PlainStepper | None = None) -> Engine:
    """Return an engine with resting sessions "0", "1", ... of some text."""
    limits = Limits(read_ahead_tokens=1_000)
    stepper = stepper or PlainStepper()
    engine = Engine(stepper, Arena(slots), limits, max_sessions=99, max_batch=8)
    for n in range(sessions):
        engine.handle(OpenSession(str(n), 0, n, WINDOW))
        engine.handle(SubmitOperation(str(n), Append(1, np.arange(n + 2, dtype=np.uint32) % 10)))
        run(engine)
    return engine


def run(engine: Engine) -> list[Event]:
    events = engine.take_events()
    while not engine.idle:
        events += engine.step()
    engine.check_integrity()
    return events


def written(events: list[Event]) -> dict[str, list[int]]:
    texts: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Written):
            texts.setdefault(event.session_id, []).extend(event.tokens)
    return texts


def parked(engine: Engine) -> list[str]:
    ids = []
    for session_id in (*map(str, range(99)), "fork"):
        with suppress(NotFound):
            if engine.describe(session_id).parked:
                ids.append(session_id)
    return ids


def exercise(engine: Engine, sessions: int) -> dict[str, list[int]]:
    """Let every session generate, rewind, complete, and generate again; return the texts."""
    events = []
    for operation in (
        lambda n: Generate(2, 30, Sampling(seed=n)),
        lambda _: Rewind(3, tokens=7),
        lambda _: Complete(4, 3, 2, 4),
        lambda n: Generate(5, 9, Sampling(seed=n)),
    ):
        for n in range(sessions):
            engine.handle(SubmitOperation(str(n), operation(n)))
            events += run(engine)
    assert not any(isinstance(event, Rejected | Closed) for event in events)
    return written(events)


def test_a_parked_session_continues_with_the_same_results() -> None:
    roomy, narrow = engine_with(12, 1_000), engine_with(12, 3 * SLOTS_EACH)
    assert parked(roomy) == []
    assert len(parked(narrow)) >= 9
    assert exercise(narrow, 12) == exercise(roomy, 12)


def test_the_session_that_rested_longest_is_parked_first() -> None:
    engine = engine_with(3, 3 * SLOTS_EACH)
    engine.handle(SubmitOperation("0", Generate(2, 1, Sampling())))
    run(engine)
    engine.handle(OpenSession("3", 0, 3, WINDOW))
    assert parked(engine) == ["1"]


def test_an_open_is_refused_if_no_session_rests() -> None:
    engine = engine_with(3, 3 * SLOTS_EACH)
    for n in range(3):
        engine.handle(SubmitOperation(str(n), Generate(2, 10**6, Sampling())))
    engine.take_events()
    engine.handle(OpenSession("3", 0, 3, WINDOW))
    (event,) = engine.take_events()
    assert isinstance(event, Closed)
    assert isinstance(event.error, ResourceExhausted)
    assert parked(engine) == []


def test_a_parked_session_survives_an_operation_that_finds_no_slots() -> None:
    engine = engine_with(4, 3 * SLOTS_EACH)
    (away,) = parked(engine)
    others = {"0", "1", "2", "3"} - {away}
    for other in others:
        engine.handle(SubmitOperation(other, Generate(2, 10**6, Sampling())))
    engine.take_events()
    engine.handle(SubmitOperation(away, Generate(2, 5, Sampling())))
    (event,) = engine.take_events()
    assert isinstance(event, Rejected)
    assert isinstance(event.error, ResourceExhausted)
    engine.handle(CloseSession(next(iter(others))))
    engine.handle(SubmitOperation(away, Generate(3, 5, Sampling())))
    events = [event for _ in range(9) for event in engine.step()]
    assert len(written(events)[away]) == 5


def test_a_parked_session_can_be_exported_described_and_forked() -> None:
    roomy, narrow = engine_with(4, 1_000), engine_with(4, 3 * SLOTS_EACH)
    (away,) = parked(narrow)
    assert narrow.snapshot(away) == roomy.snapshot(away)
    assert narrow.describe(away) == replace(roomy.describe(away), parked=True)
    assert parked(narrow) == [away]
    narrow.fork(away, "fork", 1)
    roomy.fork(away, "fork", 1)
    for engine in (narrow, roomy):
        engine.handle(SubmitOperation("fork", Generate(2, 20, Sampling())))
    assert written(run(narrow)) == written(run(roomy))


def test_an_operation_behind_a_failed_one_does_not_park_its_own_session() -> None:
    stepper = Refusing()
    engine = engine_with(2, 2 * SLOTS_EACH + 2, stepper)
    engine.handle(SubmitOperation("1", Generate(2, 10**6, Sampling())))
    engine.take_events()
    engine.handle(SubmitOperation("0", Generate(3, 5, Sampling())))
    engine.handle(SubmitOperation("0", Complete(4, 3, 2, 4)))  # more slots than are free
    stepper.refuses = True
    engine.step()
    engine.check_integrity()
    assert "0" not in parked(engine)


def test_a_session_stays_parked_if_its_state_cannot_be_written() -> None:
    stepper = Refusing()
    engine, plain = engine_with(4, 3 * SLOTS_EACH, stepper), engine_with(4, 3 * SLOTS_EACH)
    for one in (engine, plain):
        for n in range(4):  # beyond the window, so that the oldest state is not zero
            one.handle(SubmitOperation(str(n), Append(6, np.arange(40, dtype=np.uint32) % 10)))
            run(one)
    (away,) = parked(engine)
    stepper.refuses_states = True
    engine.handle(SubmitOperation(away, Generate(2, 5, Sampling())))
    (event,) = engine.take_events()
    assert isinstance(event, Rejected)
    assert away in parked(engine)
    stepper.refuses_states = False
    for one in (engine, plain):
        one.handle(SubmitOperation(away, Generate(3, 5, Sampling())))
    assert written(run(engine)) == written(run(plain))


def test_a_parked_session_can_be_closed() -> None:
    engine = engine_with(4, 3 * SLOTS_EACH)
    (away,) = parked(engine)
    engine.handle(CloseSession(away))
    engine.check_integrity()
    assert engine.stats().sessions == 3


def test_a_parked_session_can_be_closed_without_free_slots() -> None:
    engine = engine_with(4, 3 * SLOTS_EACH)
    (away,) = parked(engine)
    for other in {"0", "1", "2", "3"} - {away}:
        engine.handle(SubmitOperation(other, Generate(2, 10**6, Sampling())))
    engine.take_events()
    engine.handle(SubmitOperation(away, Close(9)))
    (event,) = engine.take_events()
    assert isinstance(event, Closed)
    engine.check_integrity()


class Refusing(PlainStepper):
    """Refuses one run, or all writes of states."""

    refuses = False
    refuses_states = False

    def write_state(self, slot: int, state: State) -> None:
        if self.refuses_states:
            raise StepFailed("the device is lost")
        super().write_state(slot, state)

    def step(self, batch: StepBatch) -> StepResult:
        self.refuse()
        return super().step(batch)

    def refuse(self) -> None:
        if self.refuses:
            self.refuses = False
            raise NotCompiled("no memory for another program")


@pytest.mark.parametrize(
    "before",
    [lambda _: None, lambda engine: engine.handle(SubmitOperation("0", Rewind(7, tokens=3)))],
)
def test_a_program_that_cannot_be_compiled_fails_only_its_operation(
    before: Callable[[Engine], None],
) -> None:
    stepper = Refusing()
    engine, plain = engine_with(1, 99, stepper), engine_with(1, 99)
    for one in (engine, plain):
        one.handle(SubmitOperation("0", Append(6, np.arange(8, dtype=np.uint32))))
        run(one)
        before(one)
    stepper.refuses = True
    engine.handle(SubmitOperation("0", Generate(8, 5, Sampling())))
    engine.handle(SubmitOperation("0", Generate(9, 5, Sampling())))
    plain.handle(SubmitOperation("0", Generate(9, 5, Sampling())))
    events = run(engine)
    assert [e.operation_id for e in events if isinstance(e, Rejected)] == [8]
    assert written(events) == written(run(plain))


def test_a_failed_operation_reports_the_tokens_it_has_added() -> None:
    stepper = Refusing()
    engine = engine_with(1, 99, stepper)
    engine.handle(SubmitOperation("0", Append(6, np.arange(9, dtype=np.uint32))))
    engine.step(2)
    stepper.refuses = True
    (rejected,) = (e for e in run(engine) if isinstance(e, Rejected))
    assert list(rejected.appended) == [0, 1]
    held_back = (1, 1, 1, 1, 1, 1, 1)
    length = engine.describe("0").offset
    stop_strings = tuple((token, *held_back) for token in range(10))
    engine.handle(SubmitOperation("0", Generate(7, 9, Sampling(), stop_strings=stop_strings)))
    engine.step(1)
    assert engine.describe("0").offset == length  # every token may begin a stop string
    stepper.refuses = True
    events = run(engine)
    assert [type(event) for event in events] == [Written, Rejected]
    assert engine.describe("0").offset == length + 1


@pytest.mark.parametrize(
    "operation",
    [
        Complete(2, 64, 1, 4),
        Generate(2, 4, Sampling()),
        Accept(2, 0, 0),
        Rewind(2, tokens=1),
    ],
)
def test_a_request_that_is_refused_parks_no_session(operation: Operation) -> None:
    engine = engine_with(9, 10 * SLOTS_EACH)
    engine.handle(OpenSession("empty", 0, 1, WINDOW))
    engine.handle(SubmitOperation("empty", operation))
    events = run(engine)
    assert isinstance(events[-1], Rejected)
    assert not isinstance(events[-1].error, ResourceExhausted)
    assert parked(engine) == []
