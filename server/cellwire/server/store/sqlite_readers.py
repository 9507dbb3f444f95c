"""The connections that read a store's database."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator


class Readers:
    """Lends connections to threads, each for one short transaction.

    While any reads, the write-ahead file cannot begin anew; `paused` sees to it that none does.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], most: int = 4) -> None:
        self._connect = connect
        self._free = threading.Condition()
        self._most = most
        self._lent = 0
        self._paused = False
        self._idle: list[sqlite3.Connection] = []

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a transaction: it sees the database as it is now; sqlite3.Error."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            self._give_back(connection)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let no thread read meanwhile; wait for those that do."""
        with self._free:
            self._paused = True
            self._free.wait_for(lambda: not self._lent)
        try:
            yield
        finally:
            with self._free:
                self._paused = False
                self._free.notify_all()

    def close(self) -> None:
        """Close the connections that are not lent; new ones are made when they are needed."""
        with self._free:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._free:
            self._free.wait_for(lambda: not self._paused and self._lent < self._most)
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            self._give_back(None)
            raise

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            try:
                connection.rollback()
            except sqlite3.Error:
                connection.close()
                connection = None
        with self._free:
            self._lent -= 1
            if connection is not None:
                self._idle.append(connection)
            self._free.notify_all()
