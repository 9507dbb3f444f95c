"""Replay: after a rewind, missing tokens are read again before the next operation."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.one_session import (
    Cycling,
    append,
    carry_out,
    drained,
    engine_with,
    only,
    some_tokens,
    written,
)
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS, StepBatch, StepResult
from cellwire.server.engine.commands import (
    AttachReader,
    CancelOperation,
    CloseSession,
    HoldSession,
    OpenSession,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.session.events import (
    Appended,
    Attached,
    Cancelled,
    Closed,
    Completed,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
    Scored,
    Written,
)
from cellwire.server.session.operations import (
    Append,
    Classify,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)


class Recorder(PlainStepper):
    """Counts the steps of all rows, and raises `error` in the next run, if it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.row_steps = 0
        self.error: NotCompiled | StepFailed | None = None

    def step(self, batch: StepBatch) -> StepResult:
        error, self.error = self.error, None
        if error:
            raise error
        self.row_steps += int(batch.count.sum())
        return super().step(batch)


TEXT = tuple(offset * 5 % 7 for offset in range(40))
LENGTH = 31  # after the rewind; the state of offset 16 is the newest one left
REPLAYED = 14  # from the 17th token on, all but the last


def rewound_engine(stepper: PlainStepper | None = None) -> Engine:
    """Return an engine whose session "s" lacks `REPLAYED` tokens in its newest state."""
    engine = engine_with(stepper=stepper)
    append(engine, *TEXT)
    carry_out(engine, Rewind(2, offset=LENGTH))
    return engine


def fresh_engine(stepper: PlainStepper | None = None) -> Engine:
    """Return an engine whose session "s" has the same text, without a rewind."""
    engine = engine_with(stepper=stepper)
    append(engine, *TEXT[:LENGTH])
    return engine


def operations() -> list[Operation]:
    return [
        Generate(3, 20, Sampling()),
        Generate(3, 5, Sampling(repetition_penalty=1.5)),
        Generate(3, 5, Sampling(), alternatives=2),
        Append(3, np.array(TEXT, np.uint32)),
        Score(3, np.array(TEXT[:9], np.uint32)),
        Complete(3, 3, 2, 6),
        Classify(3),
    ]


def plain(events: list[Event]) -> list[object]:
    """Return events in a form that compares by value, with the text joined."""
    parts = [e for e in events if isinstance(e, Written)]
    text = [token for part in parts for token in part.tokens]
    logs = [log for part in parts for log in part.log_probabilities]
    return [text, logs, *(repr(e) for e in events if not isinstance(e, Written))]


@pytest.mark.parametrize("operation", operations())
def test_an_operation_after_a_rewind_answers_as_without_it(operation: Operation) -> None:
    steppers = Recorder(), Recorder()
    rewound, fresh = rewound_engine(steppers[0]), fresh_engine(steppers[1])
    before = [stepper.row_steps for stepper in steppers]
    assert plain(carry_out(rewound, operation)) == plain(carry_out(fresh, operation))
    rewound_steps, fresh_steps = (
        stepper.row_steps - start for stepper, start in zip(steppers, before, strict=True)
    )
    assert rewound_steps == fresh_steps + REPLAYED


def test_a_replay_forces_the_missing_tokens_and_reports_nothing() -> None:
    stepper = Cycling()
    engine = rewound_engine(stepper)
    engine.handle(SubmitOperation("s", Generate(3, 4, Sampling())))
    assert engine.step() == []
    replay = stepper.seen[-1]
    assert replay.token.tolist() == [TEXT[16]]
    assert replay.forced[:, 0].tolist() == list(TEXT[17:LENGTH])
    events = drained(engine)
    first = next(event for event in events if isinstance(event, Written))
    assert first.offset == LENGTH
    assert first.tokens[0] == TEXT[LENGTH - 1] % 3 + 1
    assert len(written(events)) == 4


def test_a_complete_replays_first_and_then_searches() -> None:
    stepper = PlainStepper()
    engine = rewound_engine(stepper)
    runs = len(stepper.batches)
    engine.handle(SubmitOperation("s", Complete(3, 4, 2, 5)))
    assert engine.step(8) == []
    assert engine.step(8) == []
    assert len(stepper.batches) == runs + 2
    assert stepper.searches == []
    (found,) = engine.step()
    assert isinstance(found, Completed)
    assert len(stepper.batches) == runs + 2
    assert stepper.searches == [(1, 5)]
    assert found == only(Completed, carry_out(fresh_engine(), Complete(3, 4, 2, 5)))


def test_a_second_operation_replays_nothing() -> None:
    engine = rewound_engine()
    carry_out(engine, Complete(3, 4, 2, 5))
    steps = engine.steps
    carry_out(engine, Classify(4))
    assert engine.steps == steps + 1


def test_a_replay_ends_its_run_before_it_delays_its_operation() -> None:
    engine = rewound_engine()
    engine.handle(OpenSession("other", 0, 2, 20))
    engine.handle(SubmitOperation("other", some_tokens(1)))
    engine.handle(SubmitOperation("other", Generate(2, 100, Sampling())))
    engine.handle(SubmitOperation("s", Classify(3)))
    engine.take_events()
    events = engine.step(MAX_STEPS)
    assert len(written(events)) == REPLAYED
    assert [event.session_id for event in engine.step(MAX_STEPS)] == ["other", "s"]


@pytest.mark.parametrize("operation", operations())
def test_a_cancelled_replay_leaves_the_text_and_its_progress(operation: Operation) -> None:
    stepper = Recorder()
    engine = rewound_engine(stepper)
    engine.handle(SubmitOperation("s", operation))
    engine.step(4)
    engine.handle(CancelOperation("s", 9, 3))
    finished, cancelled = engine.take_events()
    assert isinstance(finished, Finished)
    assert (finished.operation_id, finished.reason) == (3, FinishReason.CANCELLED)
    assert (finished.offset, finished.generated_tokens) == (LENGTH, 0)
    assert len(finished.appended) == finished.appended_tokens == 0
    assert cancelled == Cancelled("s", 9)
    engine.check_integrity()
    assert engine.idle
    assert engine.describe("s").tail == TEXT[:LENGTH]
    steps = stepper.row_steps
    events = carry_out(engine, Generate(4, 6, Sampling()))
    assert stepper.row_steps == steps + REPLAYED - 4 + 6
    assert written(events) == written(carry_out(fresh_engine(), Generate(4, 6, Sampling())))


def test_a_replaying_complete_is_superseded_by_a_change_of_the_text() -> None:
    engine = rewound_engine()
    engine.handle(SubmitOperation("s", Complete(3, 3, 2, 6)))
    engine.step(4)
    engine.handle(SubmitOperation("s", Append(4, np.array([1, 2], np.uint32))))
    (finished,) = engine.take_events()
    assert finished == Finished("s", 3, FinishReason.SUPERSEDED, LENGTH)
    appended = only(Appended, drained(engine))
    expected = only(Appended, append(fresh_engine(), 1, 2))
    assert appended.log_probability == expected.log_probability
    assert appended.offset == expected.offset


def test_a_held_replay_pauses_and_resumes_with_its_reader() -> None:
    stepper = Recorder()
    engine = rewound_engine(stepper)
    engine.handle(SubmitOperation("s", Generate(3, 6, Sampling())))
    engine.step(4)
    steps = stepper.row_steps
    engine.handle(HoldSession("s"))
    assert engine.idle
    assert engine.step() == []
    assert stepper.row_steps == steps
    engine.handle(AttachReader("s", 9, None))
    assert only(Attached, engine.take_events()).offset == LENGTH
    events = drained(engine)
    assert stepper.row_steps == steps + REPLAYED - 4 + 6
    assert written(events) == written(carry_out(fresh_engine(), Generate(3, 6, Sampling())))


@pytest.mark.parametrize("operation", operations())
def test_a_closed_replay_frees_every_slot(operation: Operation) -> None:
    engine = rewound_engine()
    engine.handle(SubmitOperation("s", operation))
    engine.step(4)
    engine.handle(CloseSession("s"))
    assert engine.take_events() == [Closed("s", None)]
    engine.check_integrity()
    assert engine.idle
    assert engine.stats().reserved_slots == engine.stats().taken_slots == 0


def test_a_replaying_session_can_be_forked_and_exported() -> None:
    engine = rewound_engine()
    engine.handle(SubmitOperation("s", Generate(3, 6, Sampling())))
    engine.step(4)
    assert engine.fork("s", "fork", 1) == LENGTH
    assert only(Forked, engine.take_events()).appended == ()
    engine.restore("import", engine.snapshot("s"))
    engine.take_events()
    texts = [written(drained(engine))]
    for session_id in ("fork", "import"):
        engine.handle(SubmitOperation(session_id, Generate(3, 6, Sampling())))
        texts.append(written(drained(engine)))
    assert texts == [texts[0]] * 3
    assert len(texts[0]) == 6


def test_a_fork_of_a_rewound_session_replays_on_its_own() -> None:
    engine = rewound_engine()
    carry_out(engine, Fork(3, "fork", 1))
    steps = engine.steps
    score = Score(4, np.array([1, 2], np.uint32))
    scored = [only(Scored, carry_out(engine, score))]
    engine.handle(SubmitOperation("fork", score))
    scored.append(only(Scored, drained(engine)))
    assert engine.steps == steps + 2 * (REPLAYED + 2)
    assert scored[0].log_probability == scored[1].log_probability


@pytest.mark.parametrize("operation", operations())
def test_a_replay_that_cannot_be_compiled_rejects_its_operation(operation: Operation) -> None:
    stepper = Recorder()
    engine = rewound_engine(stepper)
    engine.handle(SubmitOperation("s", operation))
    engine.step(4)
    stepper.error = NotCompiled("no memory")
    (rejected,) = engine.step()
    assert isinstance(rejected, Rejected)
    assert isinstance(rejected.error, NotCompiled)
    assert len(rejected.appended) == 0
    engine.check_integrity()
    events = carry_out(engine, Generate(4, 6, Sampling()))
    assert written(events) == written(carry_out(fresh_engine(), Generate(4, 6, Sampling())))


def test_a_replay_that_fails_closes_its_session() -> None:
    stepper = Recorder()
    engine = rewound_engine(stepper)
    engine.handle(SubmitOperation("s", Complete(3, 3, 2, 6)))
    stepper.error = StepFailed("the runtime failed")
    closed = only(Closed, engine.step())
    assert isinstance(closed.error, StepFailed)
    engine.check_integrity()
    assert engine.stats().reserved_slots == 0
