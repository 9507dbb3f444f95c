"""A generate that is sent again after an interruption, and goes on where it was."""

from __future__ import annotations

import pytest
from tests.server.one_session import append, carry_out, engine_with, only, written

from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import OutOfRange
from cellwire.server.session.events import Appended, Finished, FinishReason, Rejected, Saved
from cellwire.server.session.operations import Generate, Save

SEEDED = Sampling(seed=5)


def test_it_gives_the_text_and_the_counts_of_one_that_was_not_interrupted() -> None:
    whole = engine_with()
    append(whole, 1, 2)
    events = carry_out(whole, Generate(2, 30, SEEDED))
    broken = engine_with()
    append(broken, 1, 2)
    first = carry_out(broken, Generate(2, 11, SEEDED))
    rest = carry_out(broken, Generate(3, 30, SEEDED, start_offset=2))
    assert written(first) + written(rest) == written(events)
    end, whole_end = only(Finished, rest), only(Finished, events)
    assert (end.offset, end.generated_tokens) == (whole_end.offset, 30)


@pytest.mark.parametrize("max_tokens", [11, 5])
def test_one_that_had_all_its_tokens_ends_at_once(max_tokens: int) -> None:
    engine = engine_with()
    append(engine, 1, 2)
    carry_out(engine, Generate(2, 11, SEEDED))
    end = only(Finished, carry_out(engine, Generate(3, max_tokens, SEEDED, start_offset=2)))
    assert (end.reason, end.offset) == (FinishReason.MAX_TOKENS, 13)
    assert end.generated_tokens == 11


def test_none_can_have_begun_beyond_the_text() -> None:
    engine = engine_with()
    append(engine, 1, 2)
    rejected = only(Rejected, carry_out(engine, Generate(2, 5, SEEDED, start_offset=3)))
    assert isinstance(rejected.error, OutOfRange)
    assert "no generate began at 3" in str(rejected.error)


def test_a_save_is_reported_after_the_operations_before_it() -> None:
    engine = engine_with()
    append(engine, 1)
    events = carry_out(engine, Generate(2, 9, Sampling()), Save(3))
    assert [type(event) for event in events[-2:]] == [Finished, Saved]
    assert events[-1].operation_id == 3
    assert only(Appended, append(engine, 2)).offset == 11
