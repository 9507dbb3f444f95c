"""How the texts of named checkpoints end: what is assumed, and what corrects that."""

from __future__ import annotations

import pytest

from cellwire.model_file.text_end import SETTLED, TextEnd
from cellwire.server.errors import ResourceExhausted
from cellwire.server.host.checkpoint_ends import CheckpointEnds
from cellwire.server.session.events import (
    Checkpointed,
    Discarded,
    Event,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
    TextEndAfter,
)
from cellwire.server.session.operations import Checkpoint, Discard, Restore, Rewind
from cellwire.server.state.named_checkpoint import NamedCheckpoint

FIRST, SECOND = TextEnd("first", (1,)), TextEnd("second", (2,))
CHECKPOINT = Checkpoint(1, "a")
AFTER = TextEndAfter(CHECKPOINT, SECOND)
KNOWN = {"a": NamedCheckpoint("a", 1, SECOND)}


def end_of(ends: CheckpointEnds, name: str = "a") -> TextEnd:
    restore = ends.assume(Restore(2, name), FIRST)
    assert isinstance(restore, Restore)
    assert (restore.id, restore.name) == (2, name)
    return restore.text_end


def test_a_checkpoint_is_assumed_to_succeed() -> None:
    ends = CheckpointEnds(KNOWN.values())
    assert (end_of(ends), end_of(ends, "b")) == (SECOND, SETTLED)
    assert ends.assume(CHECKPOINT, FIRST) is CHECKPOINT
    assert end_of(ends) == FIRST
    ends.correct(Checkpointed("s", 1, "a", 1, AFTER), KNOWN)
    assert end_of(ends) == SECOND


@pytest.mark.parametrize(
    "event",
    [
        Rejected("s", 1, ResourceExhausted("too many"), after=AFTER),
        Finished("s", 1, FinishReason.CANCELLED, 3, after=AFTER),
        Discarded("s", 3, "a", TextEndAfter(Discard(3, "a"), SECOND)),
    ],
)
def test_an_end_goes_with_its_checkpoint(event: Event) -> None:
    ends = CheckpointEnds()
    ends.assume(CHECKPOINT, FIRST)
    ends.correct(event, KNOWN)
    assert end_of(ends) == SECOND
    ends.correct(event, {})
    assert end_of(ends) == SETTLED


def test_other_answers_say_nothing_of_checkpoints() -> None:
    ends = CheckpointEnds()
    ends.assume(CHECKPOINT, FIRST)
    rewind = TextEndAfter(Rewind(1, tokens=1), SECOND)
    for event in (Rewound("s", 1, 0, rewind), Rejected("s", 1, ResourceExhausted("full"))):
        ends.correct(event, {})
    assert end_of(ends) == FIRST
