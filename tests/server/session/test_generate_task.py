"""Generate: stop strings, tokens held back, and the window of the repetition penalty."""

from __future__ import annotations

import pytest
from tests.server.one_session import Cycling, append, carry_out, engine_with, only, written

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    AttachReader,
    CancelAll,
    CancelOperation,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.session.events import Attached, Finished, FinishReason, Forked, Written
from cellwire.server.session.operations import Complete, Fork, Generate, Operation, Rewind


@pytest.mark.parametrize(
    ("stop_strings", "text", "stop"),
    [
        ([(3,), (2, 3)], [1], (2, 3)),  # the longest of those that end at this token
        ([(2, 3), (3,)], [1], (2, 3)),
        ([(3, 1)], [1, 2], (3, 1)),
        ([(3, 1, 2)], [1, 2], (3, 1, 2)),
        ([(1, 2, 3, 1, 3), (3, 1, 2)], [1, 2], (3, 1, 2)),  # inside the beginning of a longer one
        ([(6, 1)], [1, 2, 3, 1, 2, 3, 1, 2], None),  # begins before the operation
    ],
)
def test_a_text_ends_before_the_longest_stop_string(
    stop_strings: list[tuple[int, ...]], text: list[int], stop: tuple[int, ...] | None
) -> None:
    engine = engine_with(stepper=Cycling())
    append(engine, 6)
    events = carry_out(engine, Generate(2, 8, Sampling(), stop_strings=tuple(stop_strings)))
    assert written(events) == text
    end = only(Finished, events)
    assert end.reason is (FinishReason.STOP if stop else FinishReason.MAX_TOKENS)
    assert end.stop_string == stop
    assert end.offset == 1 + len(text)
    assert end.generated_tokens == len(text)


def test_tokens_that_may_begin_a_stop_string_are_not_reported() -> None:
    engine = engine_with(stepper=Cycling())
    append(engine, 6)
    engine.handle(SubmitOperation("s", Generate(2, 8, Sampling(), stop_strings=((1, 2, 3, 1, 1),))))
    # After 1 2 3 1 2 only the last two may still begin one.
    assert [written(engine.step(1)) for _ in range(5)] == [[], [], [], [], [1, 2, 3]]
    engine.handle(AttachReader("s", 9, None))
    assert only(Attached, engine.take_events()).offset == 1 + 3


def test_generated_text_carries_the_three_tokens_before_it() -> None:
    engine = engine_with()
    append(engine, 3, 4, 5, 6)
    assert only(Written, carry_out(engine, Generate(2, 1, Sampling()))).before == (4, 5, 6)


@pytest.mark.parametrize("penalty", [1.5, 3.0])
@pytest.mark.parametrize("window", [1, 3, 64])
def test_the_repetition_penalty_applies_to_the_last_tokens_of_the_text(
    penalty: float, window: int
) -> None:
    stepper = Cycling()
    engine = engine_with(stepper=stepper)
    append(engine, 5, 6, 4, 2)
    sampling = Sampling(repetition_penalty=penalty, repetition_window=window)
    carry_out(engine, Rewind(2, tokens=1), Generate(3, 2, sampling))
    texts = [(5, 6, 4), (5, 6, 4, 2)]  # a 2 follows the 4
    for batch, text in zip(stepper.seen[-2:], texts, strict=True):
        penalised = set(text[-window:])
        assert batch.adjustments is not None
        assert set(batch.adjustments.token.tolist()) == penalised
        assert batch.adjustments.penalty.tolist() == [pytest.approx(penalty)] * len(penalised)


def holding_back() -> Engine:
    """Return an engine whose session has reported 6, and holds back 1 2 3 1."""
    engine = engine_with(stepper=Cycling())
    append(engine, 6)
    stop_strings = ((1, 2, 3, 1, 2, 3),)
    engine.handle(SubmitOperation("s", Generate(2, 8, Sampling(), stop_strings=stop_strings)))
    assert engine.step(4) == []
    return engine


def test_a_fork_omits_the_tokens_held_back() -> None:
    engine = holding_back()
    assert engine.fork("s", "fork", 1) == 1
    assert engine.take_events() == [Forked("s", None, "fork", 1, 1)]
    assert engine.describe("fork").tail == (6,)


@pytest.mark.parametrize("operation", [Complete(3, 1, 1, 4), Rewind(3, tokens=1), Fork(3, "f", 1)])
def test_a_cancel_of_a_waiting_operation_reports_the_offset_before_the_tokens_held_back(
    operation: Operation,
) -> None:
    engine = holding_back()
    engine.handle(SubmitOperation("s", operation))
    engine.handle(CancelOperation("s", 9, 3))
    assert only(Finished, engine.take_events()).offset == 1


def test_a_superseded_complete_reports_the_offset_before_the_tokens_held_back() -> None:
    engine = holding_back()
    engine.handle(SubmitOperation("s", Complete(3, 1, 1, 4)))
    engine.handle(SubmitOperation("s", Rewind(4, tokens=0)))
    finished = only(Finished, engine.take_events())
    assert (finished.operation_id, finished.reason) == (3, FinishReason.SUPERSEDED)
    assert finished.offset == 1


def test_a_cancelled_generate_reports_the_tokens_held_back_before_its_end() -> None:
    engine = holding_back()
    engine.handle(CancelAll("s"))
    written, finished = engine.take_events()
    assert isinstance(written, Written)
    assert written.tokens == (1, 2, 3, 1)
    assert finished == Finished("s", 2, FinishReason.CANCELLED, 5, generated_tokens=4)
