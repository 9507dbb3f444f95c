"""An append, or a score, that reads the end of the text again."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.one_session import append, carry_out, engine_with, only
from tests.server.plain_session import log_probability

from cellwire.model_file.vocabulary import BEGINNING, SETTLED, TextEnd
from cellwire.server.engine.commands import CancelOperation, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import FailedPrecondition, OutOfRange
from cellwire.server.session.events import Appended, Finished, Forked, Rejected, Rewound, Scored
from cellwire.server.session.operations import Append, Rewind, Score

TEXT = (1, 2, 3, 4, 5)
END = TextEnd("the end", (4, 5))


def again(reread: tuple[int, ...], *tokens: int, number: int = 2) -> Append:
    return Append(number, np.array(tokens, np.uint32), reread, END)


def after_text(window: int = 64) -> Engine:
    engine = engine_with(window)
    append(engine, *TEXT)
    return engine


@pytest.mark.parametrize(
    ("tokens", "replaced", "stays"),
    [
        ((4, 5, 6), 0, TEXT),  # nothing differs
        ((4, 6, 6), 1, (1, 2, 3, 4)),
        ((6,), 2, (1, 2, 3)),
        ((), 2, (1, 2, 3)),
        ((4, 5), 0, TEXT),
        ((4,), 1, (1, 2, 3, 4)),
    ],
)
def test_the_tokens_that_differ_are_replaced(
    tokens: tuple[int, ...], replaced: int, stays: tuple[int, ...]
) -> None:
    engine = after_text()
    added = tokens[2 - replaced :]
    score = carry_out(engine, Score(3, np.array(tokens, np.uint32), reread=(4, 5)))
    scored = only(Scored, score)
    appended = only(Appended, carry_out(engine, again((4, 5), *tokens)))
    assert scored.log_probability == appended.log_probability == log_probability(stays, added)
    assert (scored.scored_tokens, appended.replaced) == (len(added), replaced)
    description = engine.describe("s")
    assert description.tail == (*stays, *added)
    assert description.text_end == END


def test_the_whole_text_may_be_replaced() -> None:
    engine = engine_with(64)
    append(engine, 1)
    assert only(Scored, carry_out(engine, Score(3, np.array([2], np.uint32), reread=(1,)))) == (
        Scored("s", 3, 0.0, 0, ())
    )
    appended = only(Appended, carry_out(engine, again((1,), 2, 3)))
    assert appended.log_probability == log_probability((), (2, 3))
    assert engine.describe("s").tail == (2, 3)


def test_what_is_not_there_is_not_read_again() -> None:
    engine = after_text()
    rejected = only(Rejected, carry_out(engine, again((3, 5), 6)))
    assert isinstance(rejected.error, FailedPrecondition)
    assert rejected.after is not None
    assert rejected.after.text_end == SETTLED
    assert engine.describe("s").tail == TEXT


def test_what_is_beyond_the_window_is_not_read_again() -> None:
    engine = after_text(window=1)
    assert isinstance(only(Rejected, carry_out(engine, again((4, 5), 6))).error, OutOfRange)
    assert only(Appended, carry_out(engine, again((4, 5), 4, 6))).replaced == 1


def test_a_cancelled_one_says_what_it_has_replaced() -> None:
    engine = after_text()
    tokens = [6] * 50
    engine.handle(SubmitOperation("s", again((4, 5), *tokens)))
    engine.step()
    offset = engine.fork("s", "copy", seed=1)
    engine.handle(CancelOperation("s", 9, 2))
    events = engine.take_events()
    finished, forked = only(Finished, events), only(Forked, events)
    assert finished.replaced == forked.replaced == 2
    assert finished.offset == offset == 3 + finished.appended_tokens
    assert engine.describe("copy").text_end == engine.describe("s").text_end == SETTLED


def test_copies_have_the_end() -> None:
    engine = after_text()
    carry_out(engine, again((), 4, 5))
    snapshot = engine.snapshot("s")
    assert snapshot.consistent
    engine.fork("s", "copy", seed=1)
    engine.restore("restored", snapshot)
    for name in ("s", "copy", "restored"):
        assert engine.describe(name).text_end == END


def test_a_rewind_settles_the_end_and_one_to_0_begins_again() -> None:
    engine = after_text()
    for offset, end in ((5, SETTLED), (0, BEGINNING)):
        rewound = only(Rewound, carry_out(engine, Rewind(4, offset=offset)))
        assert rewound.after is not None
        assert engine.describe("s").text_end == rewound.after.text_end == end
