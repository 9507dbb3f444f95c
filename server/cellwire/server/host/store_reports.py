"""What the store's writer says, on its way into the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from cellwire.server.errors import CellwireError, StoreFailed


class Sessions(Protocol):
    """Hears of the store in the event loop."""

    def note_safe(self, revisions: Mapping[str, int]) -> None:
        """Tell sessions up to which revisions they are safe."""

    def note_lost(self, session_id: str, error: CellwireError) -> None:
        """End a session here: the store takes nothing of it any more."""

    def note_condition(self, error: StoreFailed | None) -> None:
        """Note why the store fails; None if it is well again."""


class StoreReports:
    """Passes on what the writer says, from its thread into the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sessions: Sessions) -> None:
        self._call = loop.call_soon_threadsafe
        self._sessions = sessions

    def safe(self, revisions: Mapping[str, int]) -> None:
        """Tell these sessions up to which revisions they are safe."""
        self._call(self._sessions.note_safe, revisions)

    def lost(self, session_id: str, error: CellwireError) -> None:
        """End a session that is not written any more."""
        self._call(self._sessions.note_lost, session_id, error)

    def failing(self, error: StoreFailed) -> None:
        """Note that nothing becomes safe at present."""
        self._call(self._sessions.note_condition, error)

    def well(self) -> None:
        """Note that the store works again."""
        self._call(self._sessions.note_condition, None)
