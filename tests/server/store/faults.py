"""A connection to SQLite that fails when a test says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cellwire.server.store import sqlite_file


class Faults:
    """Lets the n-th statement from now on fail, and all after it until `mend`."""

    def __init__(self) -> None:
        self.statements_left: int | None = None  # before the fault; None: there will be none
        self.after = False  # whether the statement that fails is carried out even so

    def plan(self, statements: int, *, after: bool) -> None:
        self.statements_left, self.after = statements, after

    def mend(self) -> None:
        self.statements_left = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let all connections made from now on have these faults."""
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, *args: Any) -> sqlite3.Cursor:  # noqa: ANN401
                if faults.statements_left is None:
                    return super().execute(*args)
                faults.statements_left -= 1
                if faults.statements_left == 0 and faults.after:
                    super().execute(*args)
                if faults.statements_left <= 0:
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                    raise error
                return super().execute(*args)

        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, factory=Connection
            )

        monkeypatch.setattr(sqlite_file, "_connect", connect)
