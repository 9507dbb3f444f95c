"""Stores in one process's memory that share their sessions as daemons share a server: for tests."""

from __future__ import annotations

import queue
import threading
import uuid
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cellwire.server.errors import AlreadyExists, DamagedRecord
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.checks import not_stored
from cellwire.server.store.claims import FIRST_EPOCH, Claims
from cellwire.server.store.leases import Holder, LeaseMessage, OpenedStore, held_by_another
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, Release, Write, effective


@dataclass(frozen=True, slots=True)
class _Held:
    """Who holds a session."""

    daemon_id: str  # "": nobody
    epoch: int
    released: int = 0  # the epoch that was released last

    def is_held(self, daemon_id: str, epoch: int) -> bool:
        return (self.daemon_id, self.epoch) == (daemon_id, epoch)


@dataclass
class SharedMemory:
    """What a server keeps for several daemons: sessions, their holders, leases and messages."""

    clock: Callable[[], float]  # seconds
    lease_s: float = 5.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    store: MemoryStore = field(default_factory=MemoryStore)
    held: dict[str, _Held] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)  # when they run out
    inboxes: dict[str, queue.Queue[LeaseMessage]] = field(default_factory=dict)

    def open(self) -> OpenedStore:
        """Return the store of one more daemon, with its leases."""
        leases = MemoryLeases(self, uuid.uuid4().hex)
        return OpenedStore(SharedMemoryStore(self, leases), leases)

    def lives(self, daemon_id: str) -> bool:
        """Whether a daemon's lease has not run out."""
        return self.clock() < self.leases.get(daemon_id, self.clock())


class MemoryLeases:
    """The leases of one daemon."""

    def __init__(self, shared: SharedMemory, daemon_id: str) -> None:
        self.daemon_id = daemon_id
        self.claims = Claims()
        self._shared = shared
        self._inbox: queue.Queue[LeaseMessage] = queue.Queue()
        shared.inboxes[daemon_id] = self._inbox
        self.renew()

    @property
    def lease_s(self) -> float:
        """The seconds that a lease lasts."""
        return self._shared.lease_s

    def renew(self) -> bool:
        """Let the lease last from now on; False if it had run out."""
        with self._shared.lock:
            lived = self._shared.lives(self.daemon_id)
            self._shared.leases[self.daemon_id] = self._shared.clock() + self.lease_s
            return lived

    def claim(self, session_id: str) -> Holder | None:
        """Let this daemon hold a session, or return who does."""
        with self._shared.lock:
            held = self._shared.held.get(session_id)
            if held is None:
                raise not_stored(session_id)
            if held.daemon_id != self.daemon_id and self._shared.lives(held.daemon_id):
                return Holder(held.daemon_id)
            epoch = held.epoch + 1
            self._shared.held[session_id] = _Held(self.daemon_id, epoch, held.released)
            self.claims.note(session_id, epoch)
            return None

    def lost(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions that another daemon has claimed or deleted since."""
        with self._shared.lock:
            return [name for name in session_ids if self._is_lost(name)]

    def _is_lost(self, session_id: str) -> bool:
        held = self._shared.held.get(session_id)
        epoch = self.claims.epoch(session_id)
        if held is None:
            return epoch > 0
        return held.epoch > epoch and held.daemon_id != self.daemon_id

    def send(self, daemon_id: str, message: LeaseMessage) -> bool:
        """Send a message to a daemon; False if it does not listen."""
        inbox = self._shared.inboxes.get(daemon_id)
        if inbox is None:
            return False
        inbox.put(message)
        return True

    def receive(self, timeout_s: float) -> LeaseMessage | None:
        """Return the next message to this daemon."""
        try:
            return self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def resign(self) -> None:
        """End the lease."""
        with self._shared.lock:
            self._shared.leases.pop(self.daemon_id, None)
            self._shared.inboxes.pop(self.daemon_id, None)


class SharedMemoryStore:
    """The store of one daemon among several: it writes only what the daemon holds."""

    def __init__(self, shared: SharedMemory, leases: MemoryLeases) -> None:
        self._shared = shared
        self._leases = leases

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes: all, or none; RefusedWrite of a session that another daemon holds."""
        with self._shared.lock:
            wanted = effective(writes)
            released = {write.session_id for write in wanted if isinstance(write, Release)}
            created = {write.session_id for write in wanted if isinstance(write, Create)}
            done = {
                name for name in released if self._was_released(name, is_created=name in created)
            }
            wanted = [write for write in wanted if write.session_id not in done]
            held = dict(self._shared.held)
            for write in wanted:
                self._carry_out(write, held)
            self._shared.store.commit(wanted)
            self._shared.held = held
            self._leases.claims.drop({write.session_id for write in wanted} - held.keys())
            self._leases.claims.drop(released)
            for write in wanted:
                if isinstance(write, Create) and write.session_id not in released:
                    self._leases.claims.note(write.session_id, held[write.session_id].epoch)

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens."""
        return self._shared.store.load(session_id, last_tokens)

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint."""
        return self._shared.store.load_checkpoint(session_id, name, last_tokens)

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state."""
        return self._shared.store.head(session_id)

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return a part of a text."""
        return self._shared.store.text(session_id, start, end)

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return sessions in the order of their ids."""
        return self._shared.store.sessions(after, limit)

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of sessions that have expired."""
        return self._shared.store.expired(now_s, limit)

    def reopen(self) -> None:
        """Do nothing: memory does not fail."""

    def close(self) -> None:
        """Do nothing: others may use the sessions."""

    def _was_released(self, session_id: str, *, is_created: bool) -> bool:
        held = self._shared.held.get(session_id)
        epoch = self._leases.claims.epoch(session_id) or (FIRST_EPOCH if is_created else 0)
        return held is not None and 0 < epoch <= held.released

    def _carry_out(self, write: Write, held: dict[str, _Held]) -> None:
        """Compare the holder, and note what a write changes of it."""
        name, daemon_id = write.session_id, self._leases.daemon_id
        stored = held.get(name)
        epoch = self._leases.claims.epoch(name) or FIRST_EPOCH
        if stored is None:
            if isinstance(write, Create):
                held[name] = _Held(daemon_id, FIRST_EPOCH)
            return  # other writes find no session
        if not stored.is_held(daemon_id, epoch):
            if isinstance(write, Create) and write.header != self._shared.store.head(name).header:
                error = AlreadyExists(f"the session {name!r} exists already")
                raise RefusedWrite(name, error)
            self._leases.claims.drop([name])
            raise RefusedWrite(name, held_by_another(name))
        if isinstance(write, Delete):
            del held[name]
        if isinstance(write, Release):
            held[name] = _Held("", epoch, epoch)
