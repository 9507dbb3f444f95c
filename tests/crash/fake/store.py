"""A store that loses what is not safe. It lives longer than the daemons that use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from tests.crash.fake.faults import Fault

from cellwire.v1.operations_pb2 import DoneOperation, Open

_SLOWEST_S = 0.02


@dataclass(frozen=True, slots=True)
class Version:
    """A session after a change."""

    revision: int = 0
    text: str = ""
    done: tuple[DoneOperation, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)  # texts at checkpoints, by name


@dataclass(frozen=True, slots=True)
class Write:
    """What the store is to keep: a session's version, or with none the session's end."""

    session_id: str
    header: Open
    version: Version | None


@dataclass(slots=True)
class Stored:
    header: Open
    versions: list[Version] = field(default_factory=list)


class FakeStore:
    """Takes writes in groups, a little later than they come."""

    def __init__(self, random: Random, fault: Fault | None) -> None:
        self.sessions: dict[str, Stored] = {}
        self.tell: Callable[[Write], None]
        self.full = False  # takes nothing
        self._random = random
        self._fault = fault
        self._waiting: list[Write] = []
        self._has_writes = asyncio.Event()

    def put(self, write: Write) -> None:
        self._waiting.append(write)
        self._has_writes.set()
        if self._fault is Fault.SAYS_SAFE_TOO_EARLY:
            self.tell(write)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._has_writes.wait()
            await asyncio.sleep(self._random.random() * _SLOWEST_S)
            if not self.full:
                self.flush()

    def flush(self) -> None:
        """Commit everything that waits."""
        writes, self._waiting = self._waiting, []
        self._has_writes.clear()
        for write in writes:
            self._commit(write)
        if self._fault is not Fault.SAYS_SAFE_TOO_EARLY:
            for write in writes:
                self.tell(write)

    def crash(self) -> None:
        """Lose what waits; a part of it may have been committed, and nobody was told."""
        committed = self._random.choice((0, 0, self._random.randint(0, len(self._waiting))))
        for write in self._waiting[:committed]:
            self._commit(write)
        lost, self._waiting = self._waiting[committed:], []
        if self._fault is Fault.REMEMBERS_TOO_MUCH:
            for write in lost:
                self._remember(write)
        if self._fault is Fault.LOSES_SESSION and self.sessions:
            self.sessions.popitem()
        for stored in self.sessions.values():
            self._damage(stored)

    def wake(self, session_id: str) -> tuple[Open, Version] | None:
        """Return a session as it was committed last."""
        stored = self.sessions.get(session_id)
        return None if stored is None else (stored.header, stored.versions[-1])

    def _commit(self, write: Write) -> None:
        if write.version is not None:
            stored = self.sessions.setdefault(write.session_id, Stored(write.header))
            stored.versions.append(write.version)
        elif self._fault is not Fault.REVIVES_CLOSED_SESSION:
            self.sessions.pop(write.session_id, None)

    def _remember(self, write: Write) -> None:
        stored = self.sessions.get(write.session_id)
        if stored is not None and write.version is not None:
            last = stored.versions[-1]
            new = [operation for operation in write.version.done if operation not in last.done]
            stored.versions[-1] = replace(last, done=(*last.done, *new)[-64:])

    def _damage(self, stored: Stored) -> None:
        last = stored.versions[-1]
        match self._fault:
            case Fault.LOSES_SAFE_CHANGE if len(stored.versions) > 3:
                del stored.versions[-2:]
            case Fault.WRONG_REVISION:
                stored.versions[-1] = replace(last, revision=last.revision + 1)
            case Fault.RESURRECTS_REWIND:
                longest = max(stored.versions[-8:], key=lambda version: len(version.text))
                stored.versions[-1] = replace(last, text=longest.text)
            case Fault.LOSES_LAST_SYMBOL:
                stored.versions[-1] = replace(last, text=last.text[:-1])
            case Fault.MIXES_SESSIONS if last.text:
                stored.versions[-1] = replace(last, text=last.text[:-1] + "é")
            case Fault.FORGETS_DONE:
                stored.versions[-1] = replace(last, done=())
            case Fault.RUNS_LOST_OPERATIONS if last.done and last.text:
                text = last.text + last.text[-3:]
                stored.versions[-1] = replace(last, text=text, revision=last.revision + 1)
