from __future__ import annotations

from array import array
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from tests.server.store.stored import HEADER, ONE, TWO, added, change, state

from cellwire.server.host.waiting_writes import JoinedChange, WaitingWrites
from cellwire.server.state.change import Change, joined
from cellwire.server.store.writes import AddChange, Create, Delete, KeepUntil, PutState, Write


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
