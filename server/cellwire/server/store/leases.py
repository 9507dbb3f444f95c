"""How daemons share a store: each session has one holder, and each daemon a lease.

A daemon has a lease, which it renews; it runs out by the store's clock. A session's record names
its holder and an epoch, which counts the claims. A daemon claims a session before it loads it.
Every write compares holder and epoch, so a daemon that has lost a session cannot write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cellwire.server.errors import Moved
from cellwire.server.store.store import Store


@dataclass(frozen=True, slots=True)
class Holder:
    """The living daemon that holds a session."""

    daemon_id: str


class LeaseMessageKind(Enum):
    """What one daemon says to another about a session."""

    HAND_OVER = "hand_over"  # let me have it
    HANDED_OVER = "handed_over"  # nobody holds it now
    KEPT = "kept"  # it has a client here, and stays


@dataclass(frozen=True, slots=True)
class LeaseMessage:
    """A message to a daemon. It may be lost."""

    kind: LeaseMessageKind
    session_id: str
    sender: str  # the daemon's id
    takeover: bool = False  # of HAND_OVER: even if it has a client


class Leases(Protocol):
    """The lease of this daemon, and its claims to sessions. The lease is held from the start on.

    Called from any thread. Every method may raise StoreFailed. The store's writes use the epoch of
    the last claim: a session that leaves is released (`writes.Release`), and that is safe, before
    it is claimed again.
    """

    @property
    def daemon_id(self) -> str:
        """The name of this daemon, drawn at its start: 32 hexadecimal digits."""

    @property
    def lease_s(self) -> float:
        """The seconds that a lease lasts, unless it is renewed."""

    def renew(self) -> bool:
        """Let the lease last from now on.

        False if it had run out: others may hold this daemon's sessions now. It is renewed even so.
        """

    def claim(self, session_id: str) -> Holder | None:
        """Let this daemon hold a session; NotFound.

        It can if it holds the session already, nobody does, or the lease of who does has run out.
        Return None then, and otherwise the holder. A session that is created is claimed thereby.
        """

    def lost(self, session_ids: Sequence[str]) -> list[str]:
        """Return those of some sessions that another daemon has claimed since this one did.

        Also those that it has deleted.
        """

    def send(self, daemon_id: str, message: LeaseMessage) -> bool:
        """Send a message to a daemon; False if that daemon does not listen."""

    def receive(self, timeout_s: float) -> LeaseMessage | None:
        """Return the next message to this daemon; None if none has come after that time.

        One thread receives.
        """

    def resign(self) -> None:
        """End the lease: others can claim at once what this daemon has left behind."""


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store, and how it is shared; without leases it is this daemon's alone."""

    store: Store
    leases: Leases | None = None


def held_by_another(session_id: str) -> Moved:
    """Return the error of a session that this daemon does not hold."""
    return Moved(f"another daemon holds the session {session_id!r} now; attach again")
