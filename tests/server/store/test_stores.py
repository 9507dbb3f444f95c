"""What holds for every store."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from tests.server.store.stored import (
    EVERYTHING,
    HEADER,
    ONE,
    TWO,
    added,
    change,
    content,
    session,
    session_id_of,
    state,
)

from cellwire.model_file.text_end import BEGINNING, TextEnd
from cellwire.server.errors import AlreadyExists, Internal, NotFound
from cellwire.server.state.change import REMEMBERED_OPERATIONS
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import AddChange, Create, Delete, KeepUntil, PutState, Write


def text_of(store: Store, session_id: str = ONE) -> list[int]:
    return list(store.text(session_id, 0, EVERYTHING))


def test_a_new_session_is_empty(store: Store) -> None:
    store.commit([Create(ONE, HEADER)])
    head = StoredHead(ONE, HEADER, revision=0, length=0)
    assert store.head(ONE) == head
    assert store.load(ONE, 10) == StoredSession(head, 0, array("I"), None, BEGINNING, 0, -1, ())
    assert text_of(store) == []


def test_changes_cut_and_add(store: Store) -> None:
    store.commit([Create(ONE, HEADER), added(ONE, 1, 0, [1, 2, 3], done=4)])
    store.commit([added(ONE, 2, 2, [9, 70_000], done=5), added(ONE, 3, 4)])
    loaded = store.load(ONE, 10)
    assert list(loaded.tokens) == [1, 2, 9, 70_000]
    assert loaded.head == StoredHead(ONE, HEADER, revision=3, length=4)
    assert loaded.end == TextEnd("end 3")
    assert [done.operation_id for done in loaded.done] == [4, 5]


def test_a_session_comes_back_as_it_was(store: Store) -> None:
    last = replace(
        change(2, 90, range(300, 310), done=2),
        end=TextEnd("é ", (308, 309), beginning=True),
        rewind_floor=41,
        blank_offset=95,
    )
    store.commit([*session(ONE), AddChange(ONE, last)])
    loaded = store.load(ONE, 5)
    assert loaded.state == state(40)
    assert loaded.text_start == 40
    assert list(loaded.tokens) == [*range(40, 90), *range(300, 310)]
    assert (loaded.end, loaded.rewind_floor, loaded.blank_offset) == (last.end, 41, 95)
    assert [done.operation_id for done in loaded.done] == [1, 2]


@pytest.mark.parametrize(("last", "start"), [(0, 40), (59, 40), (61, 39), (100, 0), (500, 0)])
def test_a_load_has_the_last_tokens_and_those_unread(store: Store, last: int, start: int) -> None:
    store.commit(session(ONE))
    loaded = store.load(ONE, last)
    assert (loaded.text_start, list(loaded.tokens)) == (start, list(range(start, 100)))


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (0, 3_000), (1_023, 1_025), (2_400, 2_600), (2_998, 9_999), (5, 2)]
)
def test_any_part_of_a_text_can_be_read(store: Store, start: int, end: int) -> None:
    store.commit(session(ONE, 1_000, 700))
    store.commit([added(ONE, 2, 1_000, range(1_000, 3_000)), PutState(ONE, state(2_500))])
    assert list(store.text(ONE, start, end)) == list(range(3_000))[start:end]


def test_a_text_may_begin_late(store: Store) -> None:
    late = replace(HEADER, text_start=5_000)
    store.commit([Create(ONE, late), added(ONE, 1, 5_000, [1, 2, 3]), PutState(ONE, state(5_002))])
    loaded = store.load(ONE, 100)
    assert (loaded.text_start, list(loaded.tokens)) == (5_000, [1, 2, 3])
    assert (text_of(store), list(store.text(ONE, 5_001, 5_002))) == ([1, 2, 3], [2])


def test_many_small_changes_are_one_text(store: Store) -> None:
    store.commit([Create(ONE, HEADER)])
    for revision in range(1, 300):
        store.commit([added(ONE, revision, revision - 1, [revision], done=revision)])
        if revision % 90 == 0:
            store.commit([PutState(ONE, state(revision - 10))])
    loaded = store.load(ONE, EVERYTHING)
    assert list(loaded.tokens) == list(range(1, 300))
    remembered = [done.operation_id for done in loaded.done]
    assert remembered == list(range(300 - REMEMBERED_OPERATIONS, 300))


def test_what_is_stored_already_changes_nothing(store: Store) -> None:
    writes: list[Write] = [*session(ONE), added(ONE, 2, 100, [7]), KeepUntil(ONE, 5.0)]
    store.commit(writes)
    before = content(store)
    store.commit(writes)
    store.commit([PutState(ONE, replace(state(39), state=(b"older",)))])
    assert content(store) == before


def test_a_commit_that_ends_with_a_deletion_can_be_committed_again(store: Store) -> None:
    writes: list[Write] = [added(ONE, 2, 100, [7]), Delete(ONE), Delete(TWO), *session(TWO)]
    store.commit(session(ONE))
    store.commit(writes)
    store.commit(writes)
    assert list(content(store)) == [TWO]


def test_a_deleted_session_is_gone_and_its_id_free(store: Store) -> None:
    store.commit([*session(ONE), *session(TWO), KeepUntil(ONE, 1.0)])
    store.commit([Delete(ONE), Delete(ONE)])
    assert list(content(store)) == [TWO]
    assert store.expired(9.0) == []
    for read in (store.head, lambda name: store.load(name, 1), lambda name: store.text(name, 0, 1)):
        with pytest.raises(NotFound, match=ONE):
            read(ONE)
    other = replace(HEADER, seed=8)
    store.commit([Create(ONE, other), added(ONE, 1, 0, [5])])
    assert (store.head(ONE).header, text_of(store)) == (other, [5])


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (added(TWO, 1, 0, [1]), NotFound),
        (PutState(TWO, state(1)), NotFound),
        (KeepUntil(TWO, 1.0), NotFound),
        (Create(ONE, replace(HEADER, seed=8)), AlreadyExists),
        (added(ONE, 2, 101, [1]), Internal),
        (added(ONE, 2, 39, [1]), Internal),
        (PutState(ONE, state(101)), Internal),
    ],
)
def test_a_write_that_does_not_fit_undoes_its_commit(
    store: Store, write: Write, kind: type[Exception]
) -> None:
    store.commit(session(ONE))
    before = content(store)
    with pytest.raises(RefusedWrite) as refused:
        store.commit([KeepUntil(ONE, 3.0), Create("3" * 32, HEADER), write])
    assert refused.value.session_id == write.session_id
    assert type(refused.value.error) is kind
    assert content(store) == before
    store.commit([added(ONE, 2, 100, [3])])
    assert text_of(store) == [*range(100), 3]


def test_sessions_are_listed_in_pages(store: Store) -> None:
    ids = [session_id_of(number) for number in range(7)]
    store.commit([Create(name, HEADER) for name in reversed(ids)])
    pages = [store.sessions(limit=3), store.sessions(ids[2], 3), store.sessions(ids[5], 3)]
    assert [[head.session_id for head in page] for page in pages] == [ids[:3], ids[3:6], ids[6:]]


def test_expired_sessions_are_found_the_longest_first(store: Store) -> None:
    ids = [session_id_of(number) for number in range(5)]
    store.commit([Create(name, HEADER) for name in ids])
    store.commit([KeepUntil(name, 10.0 - number) for number, name in enumerate(ids)])
    store.commit([KeepUntil(ids[3], None), KeepUntil(ids[0], 20.0)])
    assert store.expired(8.0) == [ids[4], ids[2]]
    assert store.expired(50.0, limit=2) == [ids[4], ids[2]]
    assert (store.head(ids[0]).expires_s, store.head(ids[3]).expires_s) == (20.0, None)


def test_a_store_that_is_well_can_be_reopened(store: Store) -> None:
    store.commit(session(ONE))
    before = content(store)
    store.reopen()
    assert content(store) == before
    store.commit([added(ONE, 2, 100, [3])])
