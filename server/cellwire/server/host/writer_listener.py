"""Who hears how safe sessions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cellwire.server.errors import CellwireError, StoreFailed


class WriterListener(Protocol):
    """Called in the store writer's thread, or in that of `StoreWriter.write`.

    Its methods must not block, raise, or call the writer.
    """

    def safe(self, revisions: Mapping[str, int]) -> None:
        """Hear that sessions are safe up to these revisions; a new one is, at revision 0."""

    def lost(self, session_id: str, error: CellwireError) -> None:
        """Hear that a session is not written any more; what was safe of it stays so.

        After a Delete, it can be written anew.
        """

    def failing(self, error: StoreFailed) -> None:
        """Hear that nothing becomes safe at present; the writer goes on trying."""

    def well(self) -> None:
        """Hear that the store works again."""
