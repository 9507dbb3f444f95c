"""Sessions that go on from what a store has kept."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from tests.server.one_session import append, engine_with

from cellwire.model_file.vocabulary import BEGINNING, TextEnd
from cellwire.server.errors import InvalidArgument
from cellwire.server.state.change import StateRecord
from cellwire.server.state.resume import resumed
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession
from cellwire.server.state.text_history import MAX_REMEMBERED

HEAD = StoredHead("s", Header("", 7, 4), 1, 0)


def stored(length: int, state: StateRecord | None) -> StoredSession:
    return StoredSession(
        replace(HEAD, length=length),
        text_start=0,
        tokens=array("I", [1]) * length,
        state=state,
        end=TextEnd("1", (1,)) if length else BEGINNING,
        rewind_floor=max(0, length - 4),
        blank_offset=-1,
        done=(),
    )


def test_an_empty_session_is_resumed() -> None:
    snapshot = resumed(stored(0, None))
    assert (snapshot.length, snapshot.text_end, snapshot.seed) == (0, BEGINNING, 7)
    engine = engine_with()
    engine.restore("t", snapshot)
    append(engine, 1)


def test_no_more_text_is_remembered_than_sessions_remember() -> None:
    length = MAX_REMEMBERED + 100
    snapshot = resumed(stored(length, StateRecord(length - 5, (b"x",))))
    assert (snapshot.text_start, snapshot.length) == (100, length)
    assert snapshot.consistent
    assert snapshot.text_end == TextEnd("1", (1,))


@pytest.mark.parametrize("read", [0, 50])
def test_more_text_is_kept_if_it_is_to_be_replayed(read: int) -> None:
    length = MAX_REMEMBERED + 100
    state = StateRecord(read, (b"x",)) if read else None
    snapshot = resumed(stored(length, state))
    assert (snapshot.text_start, snapshot.tokens_read) == (read, read)
    assert snapshot.may_go_on
    assert not snapshot.consistent


@pytest.mark.parametrize(
    "wrong",
    [
        replace(stored(9, None), rewind_floor=3),
        replace(stored(9, None), text_start=1),
        replace(stored(9, None), head=HEAD),
        stored(9, StateRecord(5, (b"x",))),
    ],
)
def test_what_contradicts_itself_is_refused(wrong: StoredSession) -> None:
    with pytest.raises(InvalidArgument, match="contradicts"):
        resumed(wrong)
