from __future__ import annotations

from array import array
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from tests.server.store.stored import HEADER, ONE, TWO, added, change, state

from cellwire.server.host.session_writes import JoinedChange
from cellwire.server.host.waiting_writes import WaitingWrites
from cellwire.server.state.change import Change, Restoration, joined
from cellwire.server.store.writes import (
    AddChange,
    Create,
    Delete,
    DiscardCheckpoint,
    KeepUntil,
    PutCheckpoint,
    PutState,
    RestoreCheckpoint,
    Write,
)


@st.composite
def following_changes(draw: st.DrawFn) -> list[Change]:
    changes: list[Change] = []
    length = draw(st.integers(0, 5))
    for revision in range(1, draw(st.integers(1, 8)) + 1):
        offset = draw(st.integers(0, length))
        tokens = draw(st.lists(st.integers(0, 9), max_size=4))
        changes.append(change(revision, offset, tokens, done=draw(st.none() | st.integers(1, 99))))
        length = changes[-1].length
    return changes


@given(following_changes())
def test_joined_changes_are_what_joining_them_one_by_one_gives(changes: list[Change]) -> None:
    before = [array("I", each.tokens) for each in changes]
    together = JoinedChange(changes[0])
    for each in changes[1:]:
        together.add(each)
    assert together.change() == reduce(joined, changes)
    assert [each.tokens for each in changes] == before


def waiting(*writes: Write) -> WaitingWrites:
    kept = WaitingWrites()
    for write in writes:
        kept.add(write)
    return kept


def test_the_writes_of_a_session_are_joined_in_their_order() -> None:
    kept = waiting(
        Create(ONE, HEADER),
        added(ONE, 1, 0, [1, 2, 3]),
        PutState(ONE, state(1)),
        KeepUntil(ONE, 1.0),
        added(TWO, 7, 5, [1]),
        added(ONE, 2, 2, [4]),
        PutState(ONE, state(2)),
        KeepUntil(ONE, None),
    )
    assert kept.writes() == [
        Create(ONE, HEADER),
        AddChange(ONE, joined(change(1, 0, [1, 2, 3]), change(2, 2, [4]))),
        PutState(ONE, state(2)),
        KeepUntil(ONE, None),
        added(TWO, 7, 5, [1]),
    ]
    assert kept.revisions() == {ONE: 2, TWO: 7}


def test_a_delete_takes_what_was_before_it() -> None:
    kept = waiting(Create(ONE, HEADER), added(ONE, 1, 0, [1]), Delete(ONE))
    assert (kept.writes(), kept.revisions()) == ([Delete(ONE)], {})
    kept.add(Create(ONE, HEADER))
    assert (kept.writes(), kept.revisions()) == ([Delete(ONE), Create(ONE, HEADER)], {ONE: 0})


def test_what_waits_is_bounded_by_the_texts() -> None:
    kept = waiting(added(ONE, 1, 0, range(1_000)))
    size = kept.size
    for revision in range(2, 200):
        kept.add(added(ONE, revision, 500, range(500)))
        kept.add(PutState(ONE, state(400)))
    assert kept.size <= size + 1_000
    kept.add(added(ONE, 200, 1, []))
    assert kept.size < size
    kept.drop(ONE)
    kept.drop(ONE)
    assert (kept.size, len(kept)) == (0, 0)


def restored(revision: int, name: str) -> RestoreCheckpoint:
    return RestoreCheckpoint(ONE, Restoration(revision, name))


def test_nothing_is_joined_over_a_checkpoint() -> None:
    kept = waiting(
        Create(ONE, HEADER),
        added(ONE, 1, 0, [1, 2, 3]),
        added(ONE, 2, 3, [4]),
        PutState(ONE, state(1)),
        PutCheckpoint(ONE, "a", 2),
        KeepUntil(ONE, 1.0),
        added(ONE, 3, 4, [5]),
        PutState(ONE, state(4)),
        restored(4, "a"),
        added(ONE, 5, 4, [6]),
        added(ONE, 6, 5, [7]),
    )
    assert kept.writes() == [
        Create(ONE, HEADER),
        AddChange(ONE, joined(change(1, 0, [1, 2, 3]), change(2, 3, [4]))),
        PutState(ONE, state(1)),
        PutCheckpoint(ONE, "a", 2),
        added(ONE, 3, 4, [5]),
        restored(4, "a"),
        AddChange(ONE, joined(change(5, 4, [6]), change(6, 5, [7]))),
        KeepUntil(ONE, 1.0),
    ]
    assert kept.revisions() == {ONE: 6}
    assert kept.writes() == kept.writes()


def test_a_restore_is_a_revision() -> None:
    assert waiting(restored(4, "a")).revisions() == {ONE: 4}


def test_only_the_newest_checkpoint_of_a_name_waits() -> None:
    kept = waiting(
        added(ONE, 1, 0, [1]),
        PutCheckpoint(ONE, "a", 1),
        added(ONE, 2, 1, [2]),
        PutCheckpoint(ONE, "b", 2),
        added(ONE, 3, 2, [3]),
        DiscardCheckpoint(ONE, "a", 3),
        added(ONE, 4, 3, [4]),
        PutCheckpoint(ONE, "a", 4),
    )
    assert kept.writes() == [
        AddChange(ONE, joined(change(1, 0, [1]), change(2, 1, [2]))),
        PutCheckpoint(ONE, "b", 2),
        AddChange(ONE, joined(change(3, 2, [3]), change(4, 3, [4]))),
        PutCheckpoint(ONE, "a", 4),
    ]


def test_what_a_restore_needs_waits_in_front_of_it() -> None:
    writes: list[Write] = [
        added(ONE, 1, 0, [1]),
        PutCheckpoint(ONE, "a", 1),
        restored(2, "a"),
        PutCheckpoint(ONE, "a", 2),
    ]
    assert waiting(*writes).writes() == writes
    writes[-1:] = [added(ONE, 3, 1, [2]), PutCheckpoint(ONE, "a", 3)]
    assert waiting(*writes[:3], PutCheckpoint(ONE, "a", 2), *writes[3:]).writes() == writes


def test_checkpoints_that_wait_are_bounded_too() -> None:
    kept = waiting(added(ONE, 1, 0, range(1_000)), PutCheckpoint(ONE, "a", 1))
    size = kept.size
    for revision in range(2, 200):
        kept.add(added(ONE, revision, 500, range(500)))
        kept.add(PutState(ONE, state(400)))
        kept.add(PutCheckpoint(ONE, "ab"[revision % 2], revision))
    assert kept.size <= size + 8_000
    kept.drop(ONE)
    assert kept.size == 0
