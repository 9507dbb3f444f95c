"""Restore: the session waits for its snapshot, and goes on from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.server.one_session import append, carry_out, drained, engine_with, only, written

from cellwire.model_file.text_end import TextEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    AttachReader,
    CancelOperation,
    CloseSession,
    HoldSession,
    SubmitOperation,
    SupplySnapshot,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import InvalidArgument, NotFound, OutOfRange
from cellwire.server.session.events import (
    Appended,
    Attached,
    Checkpointed,
    CheckpointRestored,
    Completed,
    Discarded,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
    Scored,
    SnapshotNeeded,
    StateRead,
)
from cellwire.server.session.operations import (
    Accept,
    Checkpoint,
    Complete,
    Discard,
    Generate,
    Restore,
    Rewind,
    Score,
)
from cellwire.server.state.snapshot import SessionSnapshot

RESTORE = Restore(9, "a")


def kept_after(engine: Engine, *tokens: int) -> SessionSnapshot:
    """Append a text, and return the session there."""
    append(engine, *tokens)
    return engine.snapshot("s")


def restore(engine: Engine, snapshot: SessionSnapshot) -> CheckpointRestored:
    operation = Restore(9, "a")
    needed = only(SnapshotNeeded, carry_out(engine, operation))
    assert needed.operation is operation
    engine.handle(SupplySnapshot("s", operation, snapshot))
    return only(CheckpointRestored, drained(engine))


def test_a_checkpoint_is_reported_behind_the_oldest_state() -> None:
    engine = engine_with()
    append(engine, *range(1, 9))
    read, kept = carry_out(engine, Checkpoint(3, "a"))
    assert isinstance(read, StateRead)
    assert read.tokens_read <= 8
    assert isinstance(kept, Checkpointed)
    assert (kept.operation_id, kept.name, kept.offset) == (3, "a", 8)
    assert kept.after.text_end == TextEnd("")
    discarded = only(Discarded, carry_out(engine, Discard(4, "a")))
    assert (discarded.operation_id, discarded.name) == (4, "a")


@pytest.mark.parametrize("window", [0, 3, 20, 80])
def test_the_session_goes_on_as_it_did(window: int) -> None:
    engine = engine_with(window)
    snapshot = kept_after(engine, *range(1, 30))
    expected = written(carry_out(engine, Generate(2, 70, Sampling())))
    restored = restore(engine, snapshot)
    assert (restored.name, restored.offset, restored.snapshot) == ("a", 29, snapshot)
    assert written(carry_out(engine, Generate(3, 70, Sampling()))) == expected
    restore(engine, snapshot)
    most = min(29, window)
    rewound, refused = carry_out(engine, Rewind(4, tokens=most), Rewind(5, tokens=1))
    assert only(Rewound, [rewound]).offset == 29 - most
    assert isinstance(only(Rejected, [refused]).error, OutOfRange)


def test_an_empty_session_is_restored() -> None:
    engine = engine_with()
    snapshot = engine.snapshot("s")
    append(engine, 1, 2, 3)
    assert restore(engine, snapshot).offset == 0
    assert only(Appended, append(engine, 1)).log_probability == 0.0


def test_its_end_and_its_blank_come_back() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1, 2, 3)
    snapshot = replace(snapshot, end_text="é", end_tokens=2, blank_offset=2)
    append(engine, 4)
    assert restore(engine, snapshot).after.text_end == TextEnd("é", (2, 3))
    again = engine.snapshot("s")
    assert (again.text_end, again.blank_offset) == (TextEnd("é", (2, 3)), 2)


def test_what_comes_behind_it_waits() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1, 2)
    append(engine, 3)
    assert [type(event) for event in carry_out(engine, RESTORE)] == [SnapshotNeeded]
    assert append(engine, 4, 5) == []
    assert engine.idle
    engine.handle(AttachReader("s", 7, 0))
    attached = only(Attached, drained(engine))
    assert (attached.tokens, attached.operation_ids) == ((1, 2, 3), (9, 1))
    engine.handle(SupplySnapshot("s", RESTORE, snapshot))
    restored, appended = drained(engine)
    assert isinstance(restored, CheckpointRestored)
    assert isinstance(appended, Appended)
    assert appended.offset == 4


def test_it_fails_alone() -> None:
    engine = engine_with()
    append(engine, 1, 2)
    carry_out(engine, RESTORE)
    engine.handle(SupplySnapshot("s", RESTORE, NotFound("none has that name")))
    rejected = only(Rejected, drained(engine))
    assert (rejected.operation_id, type(rejected.error)) == (9, NotFound)
    assert rejected.after is not None
    assert only(Appended, append(engine, 3)).offset == 3


def test_one_that_was_cancelled_is_not_carried_out() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1)
    append(engine, 2, 3)
    carry_out(engine, RESTORE)
    engine.handle(CancelOperation("s", 10, 9))
    finished = only(Finished, drained(engine)[:1])
    assert (finished.reason, finished.offset) == (FinishReason.CANCELLED, 3)
    assert finished.after is not None
    for operation in (RESTORE, Restore(9, "a")):
        engine.handle(SupplySnapshot("s", operation, snapshot))
    assert drained(engine) == []
    assert only(Appended, append(engine, 4)).offset == 4


def test_a_snapshot_comes_too_late_for_another_restore() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1)
    carry_out(engine, RESTORE)
    engine.handle(CancelOperation("s", 10, 9))
    later = Restore(9, "a")
    carry_out(engine, later)
    engine.handle(SupplySnapshot("s", RESTORE, snapshot))
    assert drained(engine) == []
    engine.handle(SupplySnapshot("s", later, snapshot))
    assert only(CheckpointRestored, drained(engine)).offset == 1


def test_a_session_that_is_held_is_restored_and_no_more() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1, 2)
    engine.handle(HoldSession("s"))
    restore(engine, snapshot)
    assert carry_out(engine, Generate(2, 5, Sampling())) == []


def test_a_session_can_end_while_it_waits() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1, 2)
    carry_out(engine, RESTORE)
    engine.handle(CloseSession("s"))
    engine.handle(SupplySnapshot("s", RESTORE, snapshot))
    engine.check_integrity()
    assert engine.stats().reserved_slots == 0


def test_it_takes_no_slots_and_gives_some_back() -> None:
    engine = engine_with(80)
    snapshot = kept_after(engine, *[1, 2] * 40)
    assert engine.stats().taken_slots > 0
    restore(engine, snapshot)
    assert (engine.stats().taken_slots, engine.stats().reserved_slots) == (0, 0)
    assert engine.describe("s").parked
    assert restore(engine, snapshot).offset == 80
    assert only(Scored, carry_out(engine, Score(2, snapshot.tokens[:3]))).scored_tokens == 3


def test_completions_are_of_another_text_then() -> None:
    engine = engine_with()
    snapshot = kept_after(engine, 1, 2)
    complete = Complete(2, 3, 1, 4)
    engine.handle(SubmitOperation("s", complete))
    superseded = carry_out(engine, RESTORE)
    assert only(Finished, superseded[:1]).reason is FinishReason.SUPERSEDED
    engine.handle(SupplySnapshot("s", RESTORE, snapshot))
    drained(engine)
    only(Completed, carry_out(engine, complete))
    restore(engine, snapshot)
    assert isinstance(only(Rejected, carry_out(engine, Accept(3, 0, 0))), Rejected)


def test_a_name_has_some_characters_and_not_many() -> None:
    for name in ("", "x" * 65):
        with pytest.raises(InvalidArgument, match="the length of name"):
            Checkpoint(1, name)
    assert Checkpoint(1, "世" * 64).name == "世" * 64
