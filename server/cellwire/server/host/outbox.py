"""Where a session's events wait for its call to take them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cellwire.server.session.events import Completed, Event, Written


class Outbox:
    """The events of one session that nobody has taken yet.

    Bounded by what may be on its way: a session's read-ahead of characters, an answer for each
    operation its stream has let through, and before each of those one of a complete's unfinished
    results, since newer ones replace them. While nobody reads, neither text nor unfinished results
    are kept: the session itself remembers its text, and whoever attaches gets it from there.

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
        if not self._keeps_text and (isinstance(event, Written) or _is_unfinished(event)):
            return
        if self._events and _replaces(event, self._events[-1]):
            self._events.pop()
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
        """Keep no text and no unfinished results from now on: nobody reads them."""
        self._keeps_text = False

    def keep_text(self) -> None:
        """Keep them again: somebody reads."""
        self._keeps_text = True


def _is_unfinished(event: Event) -> bool:
    return isinstance(event, Completed) and event.partial


def _replaces(event: Event, before: Event) -> bool:
    """Whether the event before is out of date: the last results of a complete end it."""
    return (
        isinstance(event, Completed)
        and isinstance(before, Completed)
        and before.partial
        and event.operation_id == before.operation_id
    )
