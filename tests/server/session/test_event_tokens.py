"""The tokens that events carry: of appends and accepts, whole or cut, and of forks of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.server.event_texts import EventTexts
from tests.server.one_session import (
    append,
    carry_out,
    drained,
    engine_with,
    only,
    some_tokens,
)
from tests.server.plain_session import log_probability
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.engine.commands import CancelOperation, SubmitOperation
from cellwire.server.errors import NotCompiled
from cellwire.server.session.events import (
    Appended,
    Completed,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
)
from cellwire.server.session.operations import (
    Accept,
    Append,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
)

START = (1, 2, 3)
APPENDED = (4, 5, 6, 0, 1, 2)


class Refusing(PlainStepper):
    """Refuses the next run, if `refuses` is set."""

    refuses = False

    def step(self, batch: StepBatch) -> StepResult:
        if self.refuses:
            self.refuses = False
            raise NotCompiled("no memory for another program")
        return super().step(batch)


class Recorded:
    """An engine with a session of some text and completions, and the texts in its events."""

    def __init__(self) -> None:
        self.stepper = Refusing()
        self.engine = engine_with(stepper=self.stepper)
        self.texts = EventTexts()
        self.record(self.engine.take_events())
        self.record(append(self.engine, *START))
        events = self.record(carry_out(self.engine, Complete(2, 3, 2, 6)))
        self.completion = only(Completed, events).completions[1].tokens
        assert len(self.completion) == 6

    def record(self, events: list[Event]) -> list[Event]:
        for event in events:
            self.texts.add(event)
        return events

    def begin(self, operation: Operation, steps: int) -> None:
        """Start an operation, and run some of its steps, which no event may carry."""
        self.engine.handle(SubmitOperation("s", operation))
        assert self.record(self.engine.step(steps)) == []

    def check_texts(self, *session_ids: str) -> None:
        """Check that the texts in the events are those of the engine."""
        for session_id in session_ids:
            assert tuple(self.texts.texts[session_id]) == self.engine.describe(session_id).tail


def append_of(_: Recorded) -> tuple[Operation, tuple[int, ...]]:
    return Append(5, np.array(APPENDED, np.uint32)), APPENDED


def accept_of(recorded: Recorded) -> tuple[Operation, tuple[int, ...]]:
    return Accept(5, 1, 0), recorded.completion


Growing = Callable[[Recorded], tuple[Operation, tuple[int, ...]]]
growing = pytest.mark.parametrize("growing", [append_of, accept_of])


@growing
def test_appended_carries_all_tokens(growing: Growing) -> None:
    recorded = Recorded()
    operation, tokens = growing(recorded)
    recorded.begin(operation, 2)
    appended = only(Appended, recorded.record(drained(recorded.engine)))
    assert tuple(appended.tokens) == tokens
    assert appended.offset == len(START) + len(tokens)
    assert appended.log_probability == log_probability(START, tokens)
    recorded.check_texts("s")


@pytest.mark.parametrize("count", [1, 4, 6])
def test_appended_carries_the_first_tokens_that_an_accept_takes(count: int) -> None:
    recorded = Recorded()
    appended = only(Appended, recorded.record(carry_out(recorded.engine, Accept(5, 1, count))))
    assert tuple(appended.tokens) == recorded.completion[:count]
    assert appended.offset == len(START) + count
    recorded.check_texts("s")


def test_appended_carries_the_first_token_of_a_session() -> None:
    engine = engine_with()
    appended = only(Appended, append(engine, 4))
    assert (list(appended.tokens), appended.offset, appended.log_probability) == ([4], 1, 0.0)


@growing
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_finished_carries_the_tokens_added_before_a_cancel(growing: Growing, steps: int) -> None:
    recorded = Recorded()
    operation, tokens = growing(recorded)
    recorded.begin(operation, steps)
    recorded.engine.handle(CancelOperation("s", 9, 5))
    finished = only(Finished, recorded.record(recorded.engine.take_events()))
    assert finished.reason is FinishReason.CANCELLED
    assert tuple(finished.appended) == tokens[:steps]
    assert finished.appended_tokens == steps
    assert finished.offset == len(START) + steps
    recorded.check_texts("s")


@growing
def test_finished_of_a_waiting_operation_carries_no_tokens(growing: Growing) -> None:
    recorded = Recorded()
    operation, _ = growing(recorded)
    recorded.engine.handle(SubmitOperation("s", Generate(4, 100, Sampling())))
    recorded.engine.handle(SubmitOperation("s", operation))
    recorded.engine.handle(CancelOperation("s", 9, 5))
    finished = only(Finished, recorded.record(recorded.engine.take_events()))
    assert (finished.appended_tokens, finished.offset) == (0, len(START))
    recorded.check_texts("s")


@growing
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_rejected_carries_the_tokens_added_before_a_failure(growing: Growing, steps: int) -> None:
    recorded = Recorded()
    operation, tokens = growing(recorded)
    recorded.begin(operation, steps)
    recorded.stepper.refuses = True
    rejected = only(Rejected, recorded.record(recorded.engine.step()))
    assert isinstance(rejected.error, NotCompiled)
    assert tuple(rejected.appended) == tokens[:steps]
    recorded.check_texts("s")
    appended = only(Appended, recorded.record(append(recorded.engine, 2, 3)))
    text = (*START, *tokens[:steps])
    assert appended.log_probability == log_probability(text, (2, 3))
    recorded.check_texts("s")


def test_rejected_of_an_operation_that_did_not_start_carries_no_tokens() -> None:
    recorded = Recorded()
    rejected = only(Rejected, recorded.record(carry_out(recorded.engine, Accept(5, 9, 0))))
    assert rejected.appended == ()
    recorded.check_texts("s")


@growing
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_forked_carries_the_tokens_of_a_running_append(growing: Growing, steps: int) -> None:
    recorded = Recorded()
    engine = recorded.engine
    operation, tokens = growing(recorded)
    recorded.begin(operation, steps)
    assert engine.fork("s", "fork", 8) == len(START) + steps
    forked = only(Forked, recorded.record(engine.take_events()))
    assert tuple(forked.appended) == tokens[:steps]
    assert (forked.operation_id, forked.new_session_id, forked.seed) == (None, "fork", 8)
    assert forked.offset == len(START) + steps
    recorded.check_texts("fork")
    appended = only(Appended, recorded.record(drained(engine)))
    assert tuple(appended.tokens) == tokens
    assert appended.log_probability == log_probability(START, tokens)
    engine.handle(SubmitOperation("fork", some_tokens(2, 3)))
    appended = only(Appended, recorded.record(drained(engine)))
    assert appended.log_probability == log_probability((*START, *tokens[:steps]), (2, 3))
    recorded.check_texts("s", "fork")
    assert engine.describe("fork").operation_ids == ()


def test_a_fork_during_a_replay_before_an_append_carries_no_tokens() -> None:
    engine = engine_with()
    append(engine, *APPENDED * 7)
    carry_out(engine, Rewind(2, offset=31))
    engine.handle(SubmitOperation("s", Append(3, np.array([1, 2], np.uint32))))
    assert engine.step(4) == []
    assert engine.fork("s", "fork", 1) == 31
    assert len(only(Forked, engine.take_events()).appended) == 0


def test_a_fork_in_order_waits_for_the_append_before_it() -> None:
    recorded = Recorded()
    operation, tokens = append_of(recorded)
    recorded.begin(operation, 2)
    recorded.engine.handle(SubmitOperation("s", Fork(6, "fork", 1)))
    assert recorded.record(recorded.engine.take_events()) == []
    appended, forked = recorded.record(recorded.engine.step())
    assert isinstance(appended, Appended)
    assert forked == Forked("s", 6, "fork", 1, len(START) + len(tokens))
    recorded.check_texts("s", "fork")
