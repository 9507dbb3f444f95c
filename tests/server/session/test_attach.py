"""Attaching to a session: the text that a reader receives, and its range."""

from __future__ import annotations

import re

import pytest
from tests.server.one_session import append, carry_out, engine_with, only, some_tokens, written
from tests.server.plain_stepper import SYMBOLS

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import AttachReader, HoldSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotFound, OutOfRange
from cellwire.server.session.attach import attached
from cellwire.server.session.events import Attached, AttachFailed
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Generate
from cellwire.server.session.told_text import ToldText
from cellwire.server.state.snapshot import SessionSnapshot, to_token_bytes
from cellwire.server.state.text_history import TextHistory

TEXT = TextHistory(10, range(20))  # offsets 10 to 29


def attached_at(offset: int | None, end: int = 30) -> Attached | AttachFailed:
    return attached("s", 4, offset, ToldText(end, end, TEXT), (5, 6))


def text_from(offset: int | None, end: int = 30) -> Attached:
    event = attached_at(offset, end)
    assert isinstance(event, Attached)
    return event


def test_a_reader_receives_the_text_from_its_offset_to_the_end() -> None:
    assert text_from(26) == Attached("s", 4, 26, (13, 14, 15), (16, 17, 18, 19), (5, 6))


def test_tokens_beyond_the_end_are_left_out() -> None:
    assert text_from(26, end=28).tokens == (16, 17)


def test_a_reader_without_an_offset_starts_at_the_end() -> None:
    assert text_from(None) == Attached("s", 4, 30, (17, 18, 19), (), (5, 6))
    assert text_from(None, end=28) == Attached("s", 4, 28, (15, 16, 17), (), (5, 6))


@pytest.mark.parametrize(("offset", "before"), [(10, ()), (11, (0,)), (12, (0, 1))])
def test_forgotten_tokens_are_missing_before_the_offset(
    offset: int, before: tuple[int, ...]
) -> None:
    assert text_from(offset).before == before


@pytest.mark.parametrize(("offset", "end"), [(9, 30), (31, 30), (29, 28), (-1, 30)])
def test_an_offset_outside_the_remembered_text_is_out_of_range(offset: int, end: int) -> None:
    message = f"at offset {end} and remembers its text from 10 on; .* from offset {offset}"
    failed = attached_at(offset, end)
    assert isinstance(failed, AttachFailed)
    assert isinstance(failed.error, OutOfRange)
    assert re.search(message, str(failed.error))


def attach(engine: Engine, offset: int | None) -> Attached | AttachFailed:
    engine.take_events()
    engine.handle(AttachReader("s", 9, offset))
    (event,) = engine.take_events()
    assert isinstance(event, Attached | AttachFailed)
    return event


def test_an_attach_fails_at_an_offset_that_is_forgotten() -> None:
    engine = engine_with()
    tokens = to_token_bytes([1] * 30)
    engine.restore("t", SessionSnapshot(1, 0, 100, 70, tokens, 99, (bytes([1] * 99),)))
    engine.take_events()
    engine.handle(AttachReader("t", 3, 69))
    assert isinstance(engine.take_events()[-1], AttachFailed)
    engine.handle(AttachReader("t", 3, 70))
    assert isinstance(engine.take_events()[-1], Attached)


def test_an_attach_to_an_unknown_session_fails() -> None:
    engine = engine_with()
    engine.handle(AttachReader("unknown", 3, None))
    failed = only(AttachFailed, engine.take_events())
    assert isinstance(failed.error, NotFound)
    assert re.search("no session 'unknown'", str(failed.error))


def test_a_failed_attach_leaves_a_session_held() -> None:
    engine = engine_with()
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 9, Sampling())))
    engine.handle(HoldSession("s"))
    assert isinstance(attach(engine, 99), AttachFailed)
    assert engine.idle
    assert attach(engine, 0) == Attached("s", 9, 0, (), (1,), (2,))
    assert not engine.idle


@pytest.mark.parametrize(
    ("start", "end", "tokens"),
    [(26, 30, (16, 17, 7, 8)), (29, 30, (8,)), (26, 29, (16, 17, 7)), (20, 22, (10, 11))],
)
def test_what_an_append_in_progress_has_done_is_not_told(
    start: int, end: int, tokens: tuple[int, ...]
) -> None:
    """It has taken the tokens at 28 and 29 away, and added two others."""
    assert ToldText(30, 30, TEXT, replaced=(7, 8)).between(start, end) == tokens


def test_the_tokens_of_an_append_are_told_by_its_answer() -> None:
    engine = engine_with()
    append(engine, 1, 2)
    engine.handle(SubmitOperation("s", some_tokens(3, 4, 5, 6, 7)))
    engine.step(2)
    assert engine._find("s").task is not None
    assert len(engine._find("s").state_history) == 4
    assert attach(engine, 1) == Attached("s", 9, 1, (1,), (2,), (1,))
    assert (engine.describe("s").offset, engine.describe("s").tail) == (2, (1, 2))
    while not engine.idle:
        engine.step()
    assert engine.describe("s").offset == 7


def test_a_new_reader_grants_the_whole_read_ahead_again() -> None:
    engine = engine_with(limits=Limits(read_ahead_tokens=4))
    append(engine, 1)
    tokens = written(carry_out(engine, Generate(2, 20, Sampling())))
    assert len(tokens) == 4
    event = attach(engine, 1)
    assert isinstance(event, Attached)
    assert list(event.tokens) == tokens
    assert all(token < SYMBOLS for token in event.tokens)
    assert len(written(engine.step())) == 4
