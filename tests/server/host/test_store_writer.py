from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from tests.server.host.fake_store import LIMIT_S, FakeStore, Heard, Pauses
from tests.server.store.stored import (
    HEADER,
    ONE,
    TWO,
    added,
    content,
    session,
)

from cellwire.server.errors import (
    DamagedRecord,
    Internal,
    NotFound,
    StoreFailed,
    Unavailable,
)
from cellwire.server.host.store_writer import StoreWriter
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, Write

FULL = StoreFailed("the disk is full")


class Writing:
    """A writer with a fake store, and all that is heard of it."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.heard = Heard()
        self.pauses = Pauses()
        self.writer = StoreWriter(self.store, self.heard, pause=self.pauses)

    def flush(self, session_id: str | None = None) -> None:
        self.writer.flush(session_id).result(LIMIT_S)

    def begin_slow_commit(self, *writes: Write) -> None:
        """Let these writes be in a commit that does not end."""
        self.store.slow()
        self.writer.write(writes)
        self.store.wait_for_commit()


@contextmanager
def running() -> Iterator[Writing]:
    writing = Writing()
    writing.writer.start()
    try:
        yield writing
    finally:
        assert writing.writer.close(LIMIT_S)


def test_writes_are_committed_and_reported() -> None:
    with running() as writing:
        writing.writer.write([Create(ONE, HEADER)])
        writing.flush()
        writing.writer.write([added(ONE, 1, 0, [1, 2]), added(ONE, 2, 2, [3])])
        writing.flush(ONE)
        assert list(writing.store.text(ONE, 0, 9)) == [1, 2, 3]
        assert writing.heard.groups == [{ONE: 0}, {ONE: 2}]


def test_what_gathers_during_a_commit_is_the_next_one() -> None:
    with running() as writing:
        writing.begin_slow_commit(*session(ONE))
        writing.writer.write(session(TWO))
        for revision in range(2, 50):
            writing.writer.write([added(ONE, revision, 98 + revision, [revision])])
        assert writing.writer.waiting_bytes > 0
        writing.store.allow(2)
        writing.flush()
        assert writing.heard.groups == [{ONE: 1}, {TWO: 1, ONE: 49}]
        assert len(writing.store.commits) == 2
        assert writing.writer.waiting_bytes == 0


def test_a_flush_waits_for_its_session_alone() -> None:
    with running() as writing:
        writing.begin_slow_commit(*session(ONE))
        in_commit, first = writing.writer.flush(ONE), writing.writer.flush()
        writing.writer.write(session(TWO))
        waiting, nothing = writing.writer.flush(TWO), writing.writer.flush("3" * 32)
        assert nothing.done()
        writing.store.allow()
        in_commit.result(LIMIT_S)
        first.result(LIMIT_S)
        assert not waiting.done()
        writing.store.allow()
        waiting.result(LIMIT_S)


def test_a_store_that_fails_is_reopened_and_catches_up() -> None:
    with running() as writing:
        writing.pauses.hold()
        writing.store.faults = [FULL, StoreFailed("still full")]
        writing.writer.write(session(ONE))
        writing.pauses.wait_for_pause()
        assert writing.writer.failing is FULL
        writing.writer.write([added(ONE, 2, 100, [7])])
        writing.pauses.end()
        writing.pauses.wait_for_pause()
        writing.pauses.end()
        writing.flush()
        assert writing.heard.calls == ["failing", "failing", "well", "safe", "safe"]
        assert writing.heard.groups == [{ONE: 1}, {ONE: 2}]
        assert writing.store.reopened == 2
        assert writing.writer.failing is None


def test_pauses_grow_up_to_a_limit() -> None:
    with running() as writing:
        writing.store.faults = [FULL] * 10
        writing.writer.write(session(ONE))
        writing.flush()
        assert writing.pauses.lengths_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
        assert writing.heard.calls == ["failing", "well", "safe"]


def test_a_commit_that_failed_after_all_was_written_is_not_written_twice() -> None:
    with running() as writing:
        writing.store.late_faults = [FULL]
        writing.store.reopen_faults = [StoreFailed("not yet")]
        writing.writer.write([*session(ONE), added(ONE, 2, 100, [7])])
        writing.flush()
        assert list(writing.store.text(ONE, 0, 999)) == [*range(100), 7]
        assert writing.store.commits[0] == writing.store.commits[1]
        assert writing.heard.revisions == {ONE: 2}


def test_a_fault_of_the_store_does_not_end_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    with running() as writing:
        writing.store.faults = [ZeroDivisionError()]
        writing.writer.write(session(ONE))
        writing.flush()
        assert "ZeroDivisionError" in str(writing.heard.errors[0])
        assert "has a fault" in caplog.text


def test_a_session_that_is_refused_is_lost_alone() -> None:
    with running() as writing:
        writing.begin_slow_commit(added(ONE, 1, 0, [1]), *session(TWO))
        in_commit = writing.writer.flush(ONE)
        writing.writer.write([added(ONE, 2, 1, [1])])
        waiting = writing.writer.flush(ONE)
        writing.store.allow(2)
        writing.flush()
        for future in (in_commit, waiting, writing.writer.flush(ONE)):
            assert isinstance(future.exception(LIMIT_S), NotFound)
        writing.writer.write([added(ONE, 3, 2, [1])])
        writing.store.allow(9)
        writing.flush()
        assert writing.heard.revisions == {TWO: 1}
        assert list(writing.heard.losses) == [ONE]
        assert list(content(writing.store)) == [TWO]


def test_a_lost_session_can_be_written_anew() -> None:
    with running() as writing:
        writing.writer.write(session(ONE))
        writing.flush()
        writing.store.faults = [RefusedWrite(ONE, DamagedRecord("altered", session_id=ONE))]
        writing.writer.write([added(ONE, 2, 100, [7])])
        writing.heard.wait_for(lambda: ONE in writing.heard.losses)
        writing.writer.write([Delete(ONE), Create(ONE, HEADER), added(ONE, 2, 0, [5])])
        writing.flush()
        assert list(writing.store.text(ONE, 0, 999)) == [5]
        assert writing.heard.revisions == {ONE: 2}


def test_a_session_that_is_created_after_one_of_its_id_was_lost_is_reported() -> None:
    with running() as writing:
        writing.writer.write([added(ONE, 1, 0, [1])])
        writing.heard.wait_for(lambda: ONE in writing.heard.losses)
        writing.writer.write(session(ONE))
        writing.flush(ONE)
        assert writing.heard.revisions == {ONE: 1}


def test_close_commits_what_waits() -> None:
    with running() as writing:
        writing.begin_slow_commit(*session(ONE))
        writing.writer.write(session(TWO))
        writing.store.allow(2)
    assert writing.heard.revisions == {ONE: 1, TWO: 1}
    assert writing.writer.flush().exception(LIMIT_S) is None


def test_close_tries_a_store_that_fails_once_more() -> None:
    with running() as writing:
        writing.pauses.hold()
        writing.store.faults = [FULL]
        writing.writer.write(session(ONE))
        writing.pauses.wait_for_pause()
        writing.pauses.end()
    assert writing.heard.revisions == {ONE: 1}


@pytest.mark.parametrize("failing_before", [True, False])
def test_close_gives_up_when_the_store_goes_on_failing(*, failing_before: bool) -> None:
    writing = Writing()
    writing.store.faults = [FULL] * 99
    writing.pauses.hold()
    writing.writer.start()
    if failing_before:
        writing.writer.write(session(ONE))
        writing.pauses.wait_for_pause()
        flushed = writing.writer.flush()
        writing.writer._closing.set()
        writing.pauses.end()
    else:
        writing.begin_slow_commit(*session(ONE))
        flushed = writing.writer.flush()
        writing.writer._closing.set()
        writing.store.allow(9)
    assert not writing.writer.close(LIMIT_S)
    assert isinstance(flushed.exception(LIMIT_S), Unavailable)
    assert isinstance(writing.writer.flush(ONE).exception(LIMIT_S), Unavailable)


def test_close_does_not_wait_for_ever() -> None:
    writing = Writing()
    writing.writer.start()
    writing.begin_slow_commit(*session(ONE))
    assert not writing.writer.close(0.01)
    writing.store.allow()
    assert writing.writer.close(LIMIT_S)


def test_a_write_that_does_not_fit_is_a_fault_and_said() -> None:
    with running() as writing:
        writing.writer.write([Create(ONE, HEADER), added(ONE, 1, 5, [1])])
        writing.heard.wait_for(lambda: ONE in writing.heard.losses)
        assert isinstance(writing.heard.losses[ONE], Internal)


def test_a_lost_session_can_be_taken_up_where_the_store_has_it() -> None:
    with running() as writing:
        writing.writer.write(session(ONE))
        writing.flush()
        writing.store.faults = [RefusedWrite(ONE, DamagedRecord("altered", session_id=ONE))]
        writing.writer.write([added(ONE, 2, 100, [7])])
        writing.heard.wait_for(lambda: ONE in writing.heard.losses)
        writing.writer.take_up(ONE)
        writing.writer.write([added(ONE, 2, 100, [8])])
        writing.flush(ONE)
        assert writing.heard.revisions == {ONE: 2}


def test_a_thread_that_ends_by_a_fault_is_told(caplog: pytest.LogCaptureFixture) -> None:
    writing = Writing()

    def safe(revisions: Mapping[str, int]) -> None:
        raise ZeroDivisionError(revisions)

    writing.heard.safe = safe  # type: ignore[method-assign]
    writing.writer.start()
    writing.writer.write(session(ONE))
    writing.heard.wait_for(lambda: writing.heard.errors)
    writing.writer.close(LIMIT_S)
    assert writing.writer.ended
    assert writing.writer.failing is writing.heard.errors[0]
    assert "ended by a fault" in caplog.text
