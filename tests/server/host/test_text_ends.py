"""The end of a text as it will be: what is assumed, and what corrects that."""

from __future__ import annotations

import numpy as np
import pytest

from cellwire.model_file.vocabulary import BEGINNING, SETTLED, TextEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import ResourceExhausted
from cellwire.server.host.text_ends import TextEnds
from cellwire.server.session.events import (
    CheckpointRestored,
    Event,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
    TextEndAfter,
)
from cellwire.server.session.operations import (
    Accept,
    Append,
    Checkpoint,
    Classify,
    Generate,
    Operation,
    Restore,
    Rewind,
)

FIRST, SECOND = TextEnd("first", (1,)), TextEnd("second", (2,))


def append(number: int, text_end: TextEnd) -> Append:
    return Append(number, np.zeros(1, np.uint32), text_end=text_end)


def rejected(operation: Operation, text_end: TextEnd) -> Event:
    after = TextEndAfter(operation, text_end)
    return Rejected("s", operation.id or 0, ResourceExhausted("full"), after=after)


@pytest.mark.parametrize(
    ("operation", "text_end"),
    [
        (append(2, SECOND), SECOND),
        (Accept(2, 0, 0), SETTLED),
        (Generate(2, 1, Sampling()), SETTLED),
        (Rewind(2, tokens=1), SETTLED),
        (Rewind(2, offset=0), BEGINNING),
        (Classify(2), FIRST),
    ],
)
def test_an_operation_is_assumed_to_succeed(operation: Operation, text_end: TextEnd) -> None:
    ends = TextEnds()
    assert ends.text_end == BEGINNING
    ends.follow(append(1, FIRST))
    ends.follow(operation)
    assert ends.text_end == text_end


def test_a_rejected_append_leaves_the_end_as_it_was() -> None:
    ends, second = TextEnds(FIRST), append(2, SECOND)
    ends.follow(second)
    ends.correct(rejected(second, FIRST))
    assert ends.text_end == FIRST


def test_an_end_that_was_assumed_wrongly_is_settled() -> None:
    ends, first, second = TextEnds(), append(1, FIRST), append(2, SECOND)
    ends.follow(first)
    ends.follow(second)
    ends.correct(rejected(first, BEGINNING))
    assert ends.text_end == SETTLED
    ends.correct(rejected(second, BEGINNING))  # the last: now its end is known
    assert ends.text_end == BEGINNING


def test_an_answer_that_changes_nothing_later_is_ignored() -> None:
    ends, rewind, second = TextEnds(FIRST), Rewind(1, tokens=3), append(2, SECOND)
    ends.follow(rewind)
    ends.follow(second)
    ends.correct(Rewound("s", 1, 0, TextEndAfter(rewind, BEGINNING)))
    ends.correct(Finished("s", 0, FinishReason.SUPERSEDED, 3))
    assert ends.text_end == SECOND


def test_a_rewind_that_reaches_the_start_begins_again() -> None:
    ends, rewind = TextEnds(FIRST), Rewind(1, tokens=3)
    ends.follow(rewind)
    ends.correct(Rewound("s", 1, 0, TextEndAfter(rewind, BEGINNING)))
    assert ends.text_end == BEGINNING


def test_a_restore_ends_as_it_is_assumed_to_and_then_as_it_does() -> None:
    ends, restore = TextEnds(), Restore(1, "a", FIRST)
    ends.follow(restore)
    assert ends.text_end == FIRST
    after = TextEndAfter(restore, SECOND)
    ends.correct(CheckpointRestored("s", 1, "a", 3, None, after))
    assert ends.text_end == SECOND


def test_an_operation_that_leaves_the_text_leaves_its_end() -> None:
    ends, checkpoint = TextEnds(FIRST), Checkpoint(1, "a")
    ends.follow(checkpoint)
    ends.correct(rejected(checkpoint, SECOND))
    after = TextEndAfter(checkpoint, SECOND)
    ends.correct(Finished("s", 1, FinishReason.CANCELLED, 3, after=after))
    assert ends.text_end == FIRST
