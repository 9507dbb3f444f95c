"""One session: the order of its answers, its completions, attaching, and forks."""

from __future__ import annotations

import pytest
from tests.server.one_session import (
    append,
    carry_out,
    drained,
    engine_with,
    only,
    some_tokens,
    written,
)
from tests.server.plain_session import log_probability

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    AttachReader,
    CancelAll,
    CancelOperation,
    FinishSession,
    SubmitOperation,
)
from cellwire.server.errors import FailedPrecondition, InvalidArgument, StepFailed
from cellwire.server.session.events import (
    Appended,
    Cancelled,
    Closed,
    Detached,
    Event,
    Finished,
    FinishReason,
    Rejected,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Accept,
    Append,
    Close,
    Complete,
    Generate,
    Operation,
    Rewind,
    Score,
)
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for
from cellwire.server.state.state_history import StateHistory


def text_changing() -> list[Operation]:
    return [
        Rewind(5, tokens=0),
        Rewind(5, tokens=1),
        Generate(5, 1, Sampling()),
        Append(5, some_tokens(1).tokens),
        Accept(5, 0, 1),
    ]


def test_a_cancelled_append_keeps_the_tokens_it_has_read() -> None:
    engine = engine_with()
    engine.handle(SubmitOperation("s", some_tokens(1, 2, 3, 4)))
    engine.step(1)
    engine.handle(SubmitOperation("s", Generate(2, 1, Sampling())))
    engine.handle(CancelOperation("s", 9, 1))
    end, answer = (e for e in engine.take_events() if isinstance(e, Finished | Cancelled))
    assert isinstance(answer, Cancelled)
    assert isinstance(end, Finished)
    assert (end.reason, end.appended_tokens, end.offset) == (FinishReason.CANCELLED, 2, 2)


def test_a_cancel_is_answered_before_the_next_operation_starts() -> None:
    engine = engine_with()
    append(engine, 1)
    for operation in (Generate(2, 100, Sampling()), Rewind(3, tokens=0)):
        engine.handle(SubmitOperation("s", operation))
    engine.step(1)
    engine.handle(CancelOperation("s", 9, 2))
    answers = [e for e in engine.take_events() if not isinstance(e, Written)]
    assert [e.operation_id for e in answers] == [2, 9, 3]


def test_cancelling_everything_leaves_a_close() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 9, Sampling())))
    engine.handle(SubmitOperation("s", Close(3)))
    engine.handle(CancelAll("s"))
    assert [type(event) for event in engine.take_events()] == [Finished, Closed]


@pytest.mark.parametrize("operation", text_changing())
def test_an_operation_that_changes_the_text_supersedes_every_complete_before_it(
    operation: Operation,
) -> None:
    engine = engine_with()
    append(engine, 1, 2)
    score = Score(4, some_tokens(1).tokens)
    for submitted in (Complete(2, 3, 1, 100), Complete(3, 3, 1, 100), score, operation):
        engine.handle(SubmitOperation("s", submitted))
    ended = [event for event in engine.take_events() if isinstance(event, Finished)]
    assert [event.operation_id for event in ended] == [2, 3]
    assert {event.reason for event in ended} == {FinishReason.SUPERSEDED}


@pytest.mark.parametrize("operation", text_changing())
def test_a_change_of_the_text_discards_the_completions(operation: Operation) -> None:
    engine = engine_with()
    append(engine, 1, 2, 3)
    carry_out(engine, Complete(2, 2, 1, 3))
    without_effect = Rewind(3, tokens=9), Score(4, some_tokens(1).tokens)
    events = carry_out(engine, *without_effect, operation, Accept(6, 0, 0))
    assert [type(event) for event in events if event.operation_id == 3] == [Rejected]
    assert not any(isinstance(event, Rejected) for event in events if event.operation_id == 5)
    last = events[-1]
    assert isinstance(last, Rejected)
    assert isinstance(last.error, FailedPrecondition)


def test_an_accept_takes_from_the_last_complete() -> None:
    engine = engine_with()
    append(engine, 1, 2, 3)
    carry_out(engine, Complete(2, 2, 1, 3))
    carry_out(engine, Complete(3, 2, 2, 1))
    assert only(Appended, carry_out(engine, Accept(4, 1, 0))).offset == 4


def test_an_attach_revokes_the_end_of_the_stream_before() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 3, Sampling())))
    engine.handle(FinishSession("s", keep=False))
    engine.handle(AttachReader("s", 3, None))
    assert not any(isinstance(event, Closed | Detached) for event in drained(engine))
    assert engine.stats().sessions == 1


@pytest.mark.parametrize("window", [0, 1, 9])
@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("order", [("s", "fork"), ("fork", "s")])
def test_a_fork_and_its_original_are_independent(
    window: int, length: int, order: tuple[str, str]
) -> None:
    engine = engine_with(window)
    text = tuple(range(length))
    append(engine, *text)
    engine.fork("s", "fork", 2)
    for session_id in order:
        more = (6, 5) if session_id == "s" else (2, 3)
        engine.handle(SubmitOperation(session_id, some_tokens(*more)))
        assert only(Appended, drained(engine)).log_probability == log_probability(text, more)


def test_an_operation_id_in_use_is_rejected() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 9, Sampling())))
    engine.handle(SubmitOperation("s", Rewind(3, tokens=0)))
    for operation_id in (2, 3):
        engine.handle(SubmitOperation("s", Score(operation_id, some_tokens(1).tokens)))
        rejected = only(Rejected, engine.take_events())
        assert rejected.operation_id == operation_id
        assert isinstance(rejected.error, InvalidArgument)
    assert engine.describe("s").operation_ids == (2, 3)
    drained(engine)
    answers = carry_out(engine, Score(2, some_tokens(1).tokens))
    assert [event.operation_id for event in answers] == [2]


def test_operations_without_an_id_are_never_in_conflict() -> None:
    engine = engine_with()
    append(engine, 1)
    for _ in range(2):
        engine.handle(SubmitOperation("s", Generate(0, 2, Sampling())))
    finished = [event for event in drained(engine) if isinstance(event, Finished)]
    assert [event.offset for event in finished] == [3, 5]


def test_the_end_of_a_stream_adds_nothing_to_a_close() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 3, Sampling())))
    engine.handle(SubmitOperation("s", Close(3, keep=True)))
    engine.handle(FinishSession("s", keep=False))
    ends = [event for event in drained(engine) if isinstance(event, Closed | Detached)]
    assert ends == [Detached("s", 3)]
    assert engine.stats().sessions == 1


def test_an_operation_behind_a_close_is_rejected() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 3, Sampling())))
    engine.handle(FinishSession("s", keep=False))
    engine.handle(SubmitOperation("s", Rewind(4, tokens=0)))
    rejected = only(Rejected, engine.take_events())
    assert isinstance(rejected.error, FailedPrecondition)
    assert only(Closed, drained(engine)) == Closed("s", None)


def test_a_waiting_close_can_be_cancelled() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 3, Sampling())))
    engine.handle(SubmitOperation("s", Close(3)))
    engine.handle(CancelOperation("s", 9, 3))
    finished, cancelled = engine.take_events()
    assert finished == Finished("s", 3, FinishReason.CANCELLED, 1)
    assert cancelled == Cancelled("s", 9)
    assert not any(isinstance(event, Closed) for event in drained(engine))
    assert len(written(carry_out(engine, Generate(4, 2, Sampling())))) == 2


def test_a_close_is_reported_once() -> None:
    arena, reported = Arena(slots_for(20)), list[Event]()
    session = Session("s", StateHistory(arena, 20), 1, Limits(), arena, reported.append)
    session.close(3)
    session.close(4, StepFailed("the runtime failed"))
    assert reported == [Closed("s", 3)]
    assert session.closed
    assert not session.resting
    arena.check_integrity([])
    assert arena.reserved == 0
