"""Connections lent to threads."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from cellwire.server.store.sqlite_readers import Readers

LIMIT_S = 20.0


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def test_a_connection_is_used_again() -> None:
    readers = Readers(connect)
    with readers.reading() as first:
        pass
    with readers.reading() as second:
        assert second is first
    readers.close()


def test_a_connection_that_cannot_be_made_takes_no_place() -> None:
    made: list[sqlite3.Connection] = []

    def fail_first() -> sqlite3.Connection:
        made.append(connect())
        if len(made) == 1:
            made[0].close()
            raise sqlite3.OperationalError
        return made[-1]

    readers = Readers(fail_first, most=1)
    with pytest.raises(sqlite3.OperationalError), readers.reading():
        raise AssertionError
    with readers.reading():
        pass
    readers.close()


def test_a_connection_that_cannot_end_its_transaction_is_not_used_again() -> None:
    readers = Readers(connect)
    with readers.reading() as first:
        first.close()
    with readers.reading() as second:
        assert second is not first
    readers.close()


def test_readers_wait_while_they_are_paused() -> None:
    readers = Readers(connect)
    lent = threading.Event()

    def read() -> None:
        with readers.reading():
            lent.set()

    thread = threading.Thread(target=read)
    with readers.paused():
        thread.start()
        assert not lent.is_set()
    assert lent.wait(LIMIT_S)
    thread.join()
    readers.close()
