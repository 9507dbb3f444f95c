"""What durable sessions need of those who keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cellwire.server.session.operations import Restore
from cellwire.server.state.stored_session import Header
from cellwire.server.store.writes import Write

if TYPE_CHECKING:
    from cellwire.server.host.durable_session import DurableSession
    from cellwire.server.host.store_room import StoreRoom


class Keeper(Protocol):
    """Keeps durable sessions in a store."""

    @property
    def room(self) -> StoreRoom:
        """The room for what waits for the store."""

    def write(self, write: Write) -> None:
        """Let the store carry out a write, soon, and after those before it."""

    def header(self, session: DurableSession) -> Header:
        """Return what never changes in a session."""

    def supply(self, session: DurableSession, restore: Restore) -> None:
        """Read the checkpoint that a restore waits for, and let the session go on from it."""

    def keep_until(self, session: DurableSession) -> None:
        """Let the store know when a session expires."""

    def delete(self, session_id: str, then: Callable[[], None] | None = None) -> None:
        """Let the store forget a session; call `then` when that is safe."""

    def release(self, session_id: str) -> None:
        """Let other daemons have a session that has left the process."""

    def find(self, session_id: str) -> DurableSession | None:
        """Return a durable session if it is in the process."""

    def drop(self, session: DurableSession) -> None:
        """Know a session no longer that has left the process."""
