"""What was written in the last seconds, for a server that loses that when it restarts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellwire.server.store.writes import (
    AddChange,
    Create,
    Delete,
    PutState,
    RestoreCheckpoint,
    Write,
)

_WRITE_BYTES = 256  # of the objects of a write
_TOKEN_BYTES = 4


@dataclass(frozen=True, slots=True)
class RecentWrites:
    """Writes of a session, committed together."""

    session_id: str
    base: int  # the revision that they followed; -1: they follow nothing
    epoch: int
    writes: Sequence[Write]
    at_s: float = 0.0

    @property
    def size(self) -> int:
        """The bytes they take, about."""
        return sum(size_of(write) for write in self.writes)

    @property
    def end(self) -> int:
        """The revision that they led to; -1: they have deleted the session."""
        end = self.base
        for write in self.writes:
            match write:
                case Delete():
                    end = -1
                case Create():
                    end = max(end, 0)
                case AddChange(change=change):
                    end = max(end, change.revision)
                case RestoreCheckpoint(restoration=restoration):
                    end = max(end, restoration.revision)
        return end


class Recent:
    """The writes of the last seconds, as far as they are not too many."""

    def __init__(
        self,
        clock: Callable[[], float],
        window_s: float = 10.0,
        most_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._window_s = window_s
        self._most_bytes = most_bytes
        self._entries: deque[RecentWrites] = deque()
        self._size = 0

    def add(self, entry: RecentWrites) -> None:
        """Remember writes, with the time."""
        now_s = self._clock()
        entry = RecentWrites(entry.session_id, entry.base, entry.epoch, entry.writes, now_s)
        self._entries.append(entry)
        self._size += entry.size
        self._drop_old(now_s)

    def by_session(self) -> dict[str, list[RecentWrites]]:
        """Return them by session, in their order: the last that follow each other.

        Between two that do not, another daemon had the session. It may have restored it, and a
        state from before would be one of another text.
        """
        self._drop_old(self._clock())
        found: dict[str, list[RecentWrites]] = {}
        for entry in self._entries:
            before = found.setdefault(entry.session_id, [])
            if before and entry.base not in (before[-1].end, -1):
                before.clear()
            before.append(entry)
        return found

    def _drop_old(self, now_s: float) -> None:
        while self._entries and (
            self._size > self._most_bytes or self._entries[0].at_s < now_s - self._window_s
        ):
            self._size -= self._entries.popleft().size


def size_of(write: Write) -> int:
    """Return the bytes that a write takes, about."""
    match write:
        case AddChange(change=change):
            return _WRITE_BYTES + len(change.tokens) * _TOKEN_BYTES
        case PutState(state=state):
            return _WRITE_BYTES + sum(map(len, state.state))
        case _:
            return _WRITE_BYTES
