"""A store that fails and waits as a test says, and a listener that remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from cellwire.server.errors import CellwireError, StoreFailed
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.writes import Write

LIMIT_S = 20.0  # that a test waits for another thread


class FakeStore(MemoryStore):
    """Commits in memory; each commit takes a fault from `faults` first, if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Exception] = []  # of the next commits, before they change anything
        self.late_faults: list[Exception] = []  # of the next commits, after they are carried out
        self.reopen_faults: list[Exception] = []
        self.commits: list[list[Write]] = []
        self.reopened = 0
        self._entered = threading.Semaphore(0)
        self._allowed: threading.Semaphore | None = None

    def slow(self) -> None:
        """Let each commit wait for `allow` from now on."""
        self._allowed = threading.Semaphore(0)

    def allow(self, commits: int = 1) -> None:
        assert self._allowed is not None
        self._allowed.release(commits)

    def wait_for_commit(self) -> None:
        """Wait until the next commit has begun."""
        assert self._entered.acquire(timeout=LIMIT_S)

    def commit(self, writes: Sequence[Write]) -> None:
        self.commits.append(list(writes))
        self._entered.release()
        if self._allowed is not None:
            assert self._allowed.acquire(timeout=LIMIT_S)
        if self.faults:
            raise self.faults.pop(0)
        super().commit(writes)
        if self.late_faults:
            raise self.late_faults.pop(0)

    def reopen(self) -> None:
        self.reopened += 1
        if self.reopen_faults:
            raise self.reopen_faults.pop(0)


class Heard:
    """A listener that remembers what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self.calls: list[str] = []
        self.groups: list[Mapping[str, int]] = []
        self.revisions: dict[str, int] = {}
        self.losses: dict[str, CellwireError] = {}
        self.errors: list[StoreFailed] = []

    def safe(self, revisions: Mapping[str, int]) -> None:
        def note() -> None:
            self.groups.append(revisions)
            self.revisions.update(revisions)

        self._note("safe", note)

    def lost(self, session_id: str, error: CellwireError) -> None:
        self._note("lost", lambda: self.losses.update({session_id: error}))

    def failing(self, error: StoreFailed) -> None:
        self._note("failing", lambda: self.errors.append(error))

    def well(self) -> None:
        self._note("well", lambda: None)

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait until something that is heard has happened."""
        with self._news:
            assert self._news.wait_for(happened, LIMIT_S), self.calls

    def _note(self, name: str, note: Callable[[], object]) -> None:
        with self._news:
            self.calls.append(name)
            note()
            self._news.notify_all()


class Pauses:
    """In the place of waiting: each pause is recorded, and ends at once, or when it may."""

    def __init__(self) -> None:
        self.lengths_s: list[float] = []
        self._begun = threading.Semaphore(0)
        self._may_end: threading.Semaphore | None = None

    def hold(self) -> None:
        """Let each pause last until `end` from now on."""
        self._may_end = threading.Semaphore(0)

    def wait_for_pause(self) -> None:
        assert self._begun.acquire(timeout=LIMIT_S)

    def end(self) -> None:
        assert self._may_end is not None
        self._may_end.release()

    def __call__(self, closing: threading.Event, length_s: float) -> None:
        self.lengths_s.append(length_s)
        self._begun.release()
        if self._may_end is not None and not closing.is_set():
            assert self._may_end.acquire(timeout=LIMIT_S)
