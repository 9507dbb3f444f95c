"""Where a session's events wait for its call to take them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cellwire.server.events import Event, Written


class Outbox:
    """The events of one session that nobody has taken yet.

    Bounded by what may be on its way: a session's read-ahead of characters, and an answer for each
    operation its stream has let through. While nobody reads, text is not kept here: the session
    itself remembers it, and whoever attaches gets it from there.

    Filled and emptied in the event loop only.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._news = asyncio.Event()
        self._keeps_text = True

    @property
    def unread(self) -> Sequence[Event]:
        """What is there, and stays."""
        return self._events

    def put(self, event: Event) -> None:
        """Leave an event."""
        if self._keeps_text or not isinstance(event, Written):
            self._events.append(event)
            self._news.set()

    def take(self) -> list[Event]:
        """Take all that is there."""
        events, self._events = self._events, []
        return events

    async def more(self) -> None:
        """Wait for the next event, or for `wake`."""
        self._news.clear()
        await self._news.wait()

    def wake(self) -> None:
        """Let those who wait look up, though there is no event."""
        self._news.set()

    def drop_text(self) -> None:
        """Keep no text from now on: nobody reads it."""
        self._keeps_text = False

    def keep_text(self) -> None:
        """Keep text again: somebody reads it."""
        self._keeps_text = True
