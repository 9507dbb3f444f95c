"""One session: in what order it answers, whose completions it accepts, who may take it over."""

from __future__ import annotations

import pytest
from tests.server.one_session import (
    append,
    carry_out,
    drained,
    engine_with,
    only,
    some_tokens,
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
from cellwire.server.errors import FailedPrecondition
from cellwire.server.session.events import (
    Appended,
    Attached,
    AttachFailed,
    Cancelled,
    Closed,
    Detached,
    Finished,
    FinishReason,
    Rejected,
    Written,
)
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
from cellwire.server.state.text_history import MAX_REMEMBERED


def moves() -> list[Operation]:
    return [
        Rewind(5, tokens=0),
        Rewind(5, tokens=1),
        Generate(5, 1, Sampling()),
        Append(5, some_tokens(1).tokens),
        Accept(5, 0, 1),
    ]


def test_cancelled_tokens_are_counted_and_kept() -> None:
    engine = engine_with()
    engine.handle(SubmitOperation("s", some_tokens(1, 2, 3, 4)))
    engine.step(1)
    engine.handle(SubmitOperation("s", Generate(2, 1, Sampling())))
    engine.handle(CancelOperation("s", 9, 1))
    end, answer = (e for e in engine.take_events() if isinstance(e, Finished | Cancelled))
    assert isinstance(answer, Cancelled)
    assert isinstance(end, Finished)
    assert (end.reason, end.appended_tokens, end.offset) == (FinishReason.CANCELLED, 2, 2)


def test_a_cancel_is_answered_before_what_it_lets_through() -> None:
    engine = engine_with()
    append(engine, 1)
    for operation in (Generate(2, 100, Sampling()), Rewind(3, tokens=0)):
        engine.handle(SubmitOperation("s", operation))
    engine.step(1)
    engine.handle(CancelOperation("s", 9, 2))
    answers = [e for e in engine.take_events() if not isinstance(e, Written)]
    assert [e.operation_id for e in answers] == [2, 9, 3]


def test_everything_is_cancelled_but_the_end_itself() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 9, Sampling())))
    engine.handle(SubmitOperation("s", Close(3)))
    engine.handle(CancelAll("s"))
    assert [type(event) for event in engine.take_events()] == [Finished, Closed]


@pytest.mark.parametrize("move", moves())
def test_a_move_ends_every_complete_before_it(move: Operation) -> None:
    engine = engine_with()
    append(engine, 1, 2)
    score = Score(4, some_tokens(1).tokens)
    for operation in (Complete(2, 3, 1, 100), Complete(3, 3, 1, 100), score, move):
        engine.handle(SubmitOperation("s", operation))
    ended = [event for event in engine.take_events() if isinstance(event, Finished)]
    assert [event.operation_id for event in ended] == [2, 3]
    assert {event.reason for event in ended} == {FinishReason.SUPERSEDED}


@pytest.mark.parametrize("move", moves())
def test_completions_are_of_the_text_as_it_is(move: Operation) -> None:
    engine = engine_with()
    append(engine, 1, 2, 3)
    carry_out(engine, Complete(2, 2, 1, 3))
    without_effect = Rewind(3, tokens=9), Score(4, some_tokens(1).tokens)
    events = carry_out(engine, *without_effect, move, Accept(6, 0, 0))
    assert [type(event) for event in events if event.operation_id == 3] == [Rejected]
    assert not any(isinstance(event, Rejected) for event in events if event.operation_id == 5)
    last = events[-1]
    assert isinstance(last, Rejected)
    assert isinstance(last.error, FailedPrecondition)


def test_the_completions_are_those_of_the_last_complete() -> None:
    engine = engine_with()
    append(engine, 1, 2, 3)
    carry_out(engine, Complete(2, 2, 1, 3))
    carry_out(engine, Complete(3, 2, 2, 1))
    assert only(Appended, carry_out(engine, Accept(4, 1, 0))).offset == 4


def test_whoever_attaches_takes_over_from_a_stream_that_has_ended() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 3, Sampling())))
    engine.handle(FinishSession("s", keep=False))
    engine.handle(AttachReader("s", 3, None))
    assert not any(isinstance(event, Closed | Detached) for event in drained(engine))
    assert engine.stats().sessions == 1


def test_nobody_attaches_at_an_offset_that_is_forgotten() -> None:
    engine = engine_with(window=0)
    history = engine._sessions.find("s").state_history.text
    history.extend([1] * (MAX_REMEMBERED + 1))
    assert history.start
    engine.handle(AttachReader("s", 3, history.start - 1))
    assert isinstance(engine.take_events()[-1], AttachFailed)
    engine.handle(AttachReader("s", 3, history.start))
    assert isinstance(engine.take_events()[-1], Attached)


@pytest.mark.parametrize("window", [0, 1, 9])
@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("order", [("s", "fork"), ("fork", "s")])
def test_a_fork_and_its_original_leave_each_other_alone(
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
