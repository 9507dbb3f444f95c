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
from tests.server.session.rewound_session import (
    LENGTH,
    REPLAYED,
    TEXT,
    Recorder,
    fresh_engine,
    operations,
    plain,
    rewound_engine,
)

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.commands import (
    OpenSession,
    SubmitOperation,
)
from cellwire.server.session.events import (
    Completed,
    Forked,
    Scored,
    Written,
)
from cellwire.server.session.operations import (
    Classify,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)


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


def test_a_replay_keeps_the_checkpoints_that_later_rewinds_need() -> None:
    stepper = Recorder()
    engine = engine_with(window=80, stepper=stepper)
    append(engine, *TEXT * 3)
    engine.restore("import", engine.snapshot("s"))
    assert engine.snapshot("import").tokens_read == 32  # the one state it has: 87 tokens follow
    steps = stepper.row_steps
    engine.handle(SubmitOperation("import", Classify(3)))
    while not engine.idle:
        engine.step(5)  # does not divide the checkpoint interval
        engine.check_integrity()
    assert stepper.row_steps == steps + 87 + 1
    engine.handle(SubmitOperation("import", Rewind(4, offset=79)))
    engine.handle(SubmitOperation("import", Classify(5)))
    drained(engine)
    assert stepper.row_steps == steps + 87 + 1 + (78 - 64) + 1  # from the checkpoint at 64
