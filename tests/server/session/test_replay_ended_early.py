"""A replay in progress that is cancelled, superseded, held, closed, or fails."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.one_session import (
    append,
    carry_out,
    drained,
    only,
    written,
)
from tests.server.session.rewound_session import (
    LENGTH,
    REPLAYED,
    TEXT,
    Recorder,
    fresh_engine,
    operations,
    rewound_engine,
)

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    AttachReader,
    CancelOperation,
    CloseSession,
    HoldSession,
    SubmitOperation,
)
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.session.events import (
    Appended,
    Attached,
    Cancelled,
    Closed,
    Finished,
    FinishReason,
    Rejected,
)
from cellwire.server.session.operations import (
    Append,
    Complete,
    Generate,
    Operation,
)


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
