"""The changes that a session's events are, and the operations that are remembered."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
import pytest
from tests.server.change_texts import ChangeTexts
from tests.server.one_session import append, carry_out, engine_with, only
from tests.server.plain_stepper import PlainStepper

from cellwire.model_file.vocabulary import BEGINNING, SETTLED, TextEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    CancelAll,
    CancelOperation,
    ReadState,
    SubmitOperation,
    SupplySnapshot,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotFound, StepFailed
from cellwire.server.session.change_log import ChangeLog
from cellwire.server.session.events import (
    CheckpointRestored,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
    StateRead,
    Written,
    without_appended,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Append,
    Checkpoint,
    Discard,
    Fork,
    Generate,
    Restore,
    Rewind,
    Score,
)
from cellwire.server.state.change import (
    REMEMBERED_OPERATIONS,
    Change,
    DoneKind,
    DoneOperation,
    Restoration,
)
from cellwire.server.state.named_checkpoint import NamedCheckpoint

END = TextEnd("56", (5, 6))


def new_engine(window: int = 20, stepper: PlainStepper | None = None) -> Engine:
    engine = engine_with(window, stepper)
    engine.take_events()
    return engine


def changes_of(log: ChangeLog, events: list[Event]) -> list[Change]:
    return [change for event in events if (change := log.add(event)) is not None]


def test_an_append_is_a_change_that_completes_it() -> None:
    engine, log = new_engine(window=4), ChangeLog(4)
    operation = Append(7, np.arange(7, dtype=np.uint32), text_end=END)
    (change,) = changes_of(log, carry_out(engine, operation))
    (done,) = change.done
    assert change == Change(1, 0, array("I", range(7)), END, 3, (done,))
    assert (done.operation_id, done.kind, done.offset) == (7, DoneKind.APPENDED, 7)
    assert done.log_probability < 0
    assert list(log.done) == [done]


def test_a_generate_is_completed_by_its_end() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, append(engine, 1, 2))
    *chunks, end = changes_of(log, carry_out(engine, Generate(3, 20, Sampling())))
    assert chunks
    assert not any(chunk.done for chunk in chunks)
    assert sum(len(chunk.tokens) for chunk in chunks) == 20
    (done,) = end.done
    assert (done.reason, done.generated_tokens, done.offset) == ("max_tokens", 20, 22)
    assert (end.offset, len(end.tokens), end.revision) == (22, 0, len(chunks) + 2)


def test_the_rewind_floor_remembers_a_stop_string() -> None:
    engine = new_engine(window=3)
    append(engine, 1, 2, 3)
    written = [e for e in carry_out(engine, Generate(2, 9, Sampling())) if isinstance(e, Written)]
    stop = tuple([token for event in written for token in event.tokens][-2:])
    log, engine = ChangeLog(3), new_engine(window=3)
    changes_of(log, append(engine, 1, 2, 3))
    changes = changes_of(
        log, carry_out(engine, Generate(2, 9, Sampling(), stop_strings=(stop,), stop_texts=("x",)))
    )
    history = engine._sessions.find("s").state_history
    assert changes[-1].rewind_floor == history.rewind_floor == changes[-1].length - 1
    assert (changes[-1].done[0].stop_string, changes[-1].done[0].stop_text) == (stop, "x")


def test_a_rejected_rewind_is_remembered_and_a_rejected_score_is_not() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, append(engine, 1, 2))
    (change,) = changes_of(log, carry_out(engine, Rewind(3, tokens=9)))
    (done,) = change.done
    assert (done.kind, done.error, done.offset) == (DoneKind.REJECTED, "OutOfRange", 2)
    assert "can be rewound" in done.message
    assert (change.offset, len(change.tokens), change.revision) == (2, 0, 2)
    wrong = Score(4, np.array([1], np.uint32), reread=(9,))
    assert changes_of(log, carry_out(engine, wrong)) == []
    assert changes_of(log, carry_out(engine, Rewind(0, tokens=9))) == []


def test_an_operation_that_ends_while_it_waits_leaves_the_end_of_the_text() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, carry_out(engine, Append(1, np.array([5, 6], np.uint32), text_end=END)))
    engine.handle(SubmitOperation("s", Append(2, np.array([1] * 30, np.uint32))))
    engine.handle(SubmitOperation("s", Append(3, np.array([1], np.uint32))))
    assert engine.step(3) == []
    engine.handle(CancelOperation("s", 9, 3))
    (change,) = changes_of(log, engine.take_events())
    assert (change.end, change.length, change.done[0].offset) == (END, 2, 2)


@pytest.mark.parametrize(("offset", "end"), [(0, BEGINNING), (1, SETTLED)])
def test_a_rewind_cuts(offset: int, end: TextEnd) -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, append(engine, 1, 2))
    (change,) = changes_of(log, carry_out(engine, Rewind(3, offset=offset)))
    assert (change.offset, change.end, change.done[0].kind) == (offset, end, DoneKind.REWOUND)


def test_a_blank_that_the_client_has_is_remembered_until_it_is_cut() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, append(engine, 1, 2))
    generated = Generate(2, 3, Sampling(), after_blank=True)
    changes = changes_of(log, carry_out(engine, generated))
    assert {change.blank_offset for change in changes} == {2}
    assert engine.snapshot("s").blank_offset == 2
    engine.restore("t", engine.snapshot("s"))
    assert engine.snapshot("t").blank_offset == 2
    (change,) = changes_of(log, carry_out(engine, Rewind(3, offset=2)))
    assert change.blank_offset == -1


def test_the_last_operations_are_remembered() -> None:
    engine, log = new_engine(), ChangeLog(20)
    for number in range(1, REMEMBERED_OPERATIONS + 9):
        changes_of(log, carry_out(engine, Append(number, np.array([1], np.uint32))))
    assert [done.operation_id for done in log.done] == list(range(9, REMEMBERED_OPERATIONS + 9))


class Unreadable(PlainStepper):
    """Reads no state."""

    def read_state(self, slot: int) -> tuple[bytes]:
        raise StepFailed(f"slot {slot} cannot be read")


def states(events: list[Event]) -> list[StateRead]:
    return [event for event in events if isinstance(event, StateRead)]


def test_a_state_is_reported_in_order() -> None:
    engine = new_engine(window=0)
    append(engine, 1, 2, 3)
    engine.handle(SubmitOperation("s", Generate(2, 50, Sampling())))
    written = [e for e in engine.step() if isinstance(e, Written)]
    engine.handle(ReadState("s"))
    (state,) = states(engine.take_events())
    assert state.tokens_read == written[-1].offset + len(written[-1].tokens) - 1
    assert len(state.state[0]) == state.tokens_read


def test_a_state_within_an_append_is_reported_after_it() -> None:
    engine = new_engine(window=0)
    operation = Append(1, np.array([1] * 50, np.uint32))
    engine.handle(SubmitOperation("s", operation))
    assert engine.step() == []
    for _ in range(2):
        engine.handle(ReadState("s"))
    for number in range(2, 2 + Limits().waiting_operations):
        engine.handle(SubmitOperation("s", Append(number, np.array([1], np.uint32))))
    events = carry_out(engine)
    assert not any(isinstance(event, Rejected) for event in events)
    appended, state = events[0], events[1]
    assert [type(appended), state] == [
        type(appended),
        StateRead("s", 49, (bytes([1] * 49),)),
    ]
    assert len(states(events)) == 1


def test_a_state_is_read_although_all_operations_are_cancelled() -> None:
    engine = new_engine(window=0)
    engine.handle(SubmitOperation("s", Append(1, np.array([1] * 50, np.uint32))))
    engine.step(10)
    engine.handle(ReadState("s"))
    engine.handle(CancelAll("s"))
    finished, state = engine.take_events()
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.CANCELLED
    assert states([state])[0].tokens_read == finished.offset - 1


def test_a_parked_session_reports_the_state_that_it_has() -> None:
    engine = new_engine(window=0)
    append(engine, 1, 2, 3)
    engine._sessions.find("s").state_history.park(engine._stepper.read_state)
    engine.handle(ReadState("s"))
    assert states(engine.take_events()) == [StateRead("s", 2, (bytes([1, 2]),))]
    assert engine.describe("s").parked


def test_a_state_that_cannot_be_read_is_not_reported() -> None:
    engine = new_engine(stepper=Unreadable())
    append(engine, 1, 2, 3)
    engine.handle(ReadState("s"))
    engine.handle(ReadState("unknown"))
    assert engine.take_events() == []


def test_a_copy_whose_state_cannot_be_read_is_not_made() -> None:
    engine = new_engine(stepper=Unreadable())
    append(engine, 1, 2, 3)
    (rejected,) = carry_out(engine, Fork(2, "copy", 1, snapshot=True))
    assert isinstance(rejected, Rejected)
    engine.check_integrity()
    assert isinstance(carry_out(engine, Fork(2, "copy", 1))[0], Forked)


def test_a_copy_begins_with_its_whole_text() -> None:
    engine, texts = new_engine(), ChangeTexts()
    append(engine, 1, 2, 3)
    (forked,) = carry_out(engine, Fork(2, "copy", 8, snapshot=True))
    assert isinstance(forked, Forked)
    assert forked.snapshot == replace(engine.snapshot("s"), seed=8)
    texts.add(forked)
    assert texts.sessions["copy"].text.tolist() == [1, 2, 3]
    plain = without_appended(forked)
    assert isinstance(plain, Forked)
    assert plain.snapshot is None


def test_checkpoints_are_changes_without_tokens() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, carry_out(engine, Append(1, np.array([5, 6], np.uint32), text_end=END)))
    kept, again = changes_of(log, carry_out(engine, Checkpoint(2, "a"), Checkpoint(0, "b")))
    assert (kept.revision, kept.offset, len(kept.tokens), kept.end) == (2, 2, 0, END)
    assert kept.done == (DoneOperation(2, DoneKind.CHECKPOINTED, 2, name="a"),)
    assert (again.revision, again.done) == (3, ())
    assert list(log.checkpoints.values()) == [
        NamedCheckpoint("a", 2, END),
        NamedCheckpoint("b", 2, END),
    ]
    (change,) = changes_of(log, carry_out(engine, Discard(3, "a")))
    assert change.done == (DoneOperation(3, DoneKind.DISCARDED, 2, name="a"),)
    assert list(log.checkpoints) == ["b"]


@pytest.mark.parametrize("number", [0, 3])
def test_a_restore_goes_back_and_its_revision_on(number: int) -> None:
    engine, log = new_engine(window=3), ChangeLog(3)
    changes_of(log, append(engine, *range(1, 9)))
    snapshot = replace(engine.snapshot("s"), end_text="8", end_tokens=1, blank_offset=7)
    changes_of(log, append(engine, *range(1, 9)))
    assert (log.length, log.rewind_floor) == (16, 13)
    operation = Restore(number, "a")
    changes_of(log, carry_out(engine, operation))
    engine.handle(SupplySnapshot("s", operation, snapshot))
    restoration = log.restored(only(CheckpointRestored, engine.take_events()))
    done = DoneOperation(3, DoneKind.RESTORED, 8, name="a")
    assert restoration == Restoration(3, "a", (done,) if number else ())
    assert (log.length, log.rewind_floor, log.restored_revision) == (8, 5, 3)
    assert list(log.done)[2:] == ([done] if number else [])
    (change,) = changes_of(log, carry_out(engine, Rewind(4, tokens=4)))
    assert (change.revision, change.end, change.blank_offset) == (4, TextEnd("8", (8,)), 7)


def test_a_restore_that_fails_is_remembered() -> None:
    engine, log = new_engine(), ChangeLog(20)
    changes_of(log, append(engine, 1))
    operation = Restore(3, "a")
    changes_of(log, carry_out(engine, operation))
    engine.handle(SupplySnapshot("s", operation, NotFound("none has that name")))
    (change,) = changes_of(log, engine.take_events())
    assert (change.done[0].kind, change.done[0].error) == (DoneKind.REJECTED, "NotFound")
