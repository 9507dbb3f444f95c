"""Where the engines' threads leave events for the sessions' calls to take."""

from __future__ import annotations

import asyncio
from collections import deque

from cellwire.server.events import Event, Written


class Outbox:
    """The events of one session that nobody has taken yet.

    Bounded by what may be on its way: a session's read-ahead of characters, and an answer for each
    operation its stream has let through. While nobody reads, text is not kept here: the session
    itself remembers it, and whoever attaches gets it from there.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()  # appended to by one thread, emptied by another
        self._filled = asyncio.Event()
        self._keeps_text = True

    def put(self, event: Event) -> None:
        """Leave an event; `wake` must follow, in the event loop's thread."""
        if self._keeps_text or not isinstance(event, Written):
            self._events.append(event)

    def wake(self) -> None:
        """Tell the reader that there are events."""
        self._filled.set()

    async def take(self) -> list[Event]:
        """Wait until there are events, and take all of them."""
        await self._filled.wait()
        self._filled.clear()
        return [self._events.popleft() for _ in range(len(self._events))]

    def drop_text(self) -> None:
        """Keep no text from now on: nobody reads it."""
        self._keeps_text = False

    def keep_text(self) -> None:
        """Keep text again: somebody reads it."""
        self._keeps_text = True


class Outboxes:
    """All sessions' outboxes; wakes the event loop once a step, however many sessions have news."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._boxes: dict[str, Outbox] = {}

    def __len__(self) -> int:
        return len(self._boxes)

    def add(self, session_id: str) -> Outbox:
        """Make an outbox for a session."""
        box = self._boxes[session_id] = Outbox()
        return box

    def remove(self, session_id: str) -> None:
        """Forget a session's outbox; its later events are dropped."""
        self._boxes.pop(session_id, None)

    def deliver(self, events: list[Event]) -> None:
        """Put each event into its session's outbox; called from an engine's thread."""
        filled = {}
        for event in events:
            if box := self._boxes.get(event.session_id):
                box.put(event)
                filled[event.session_id] = box
        if filled:
            self._loop.call_soon_threadsafe(_wake, list(filled.values()))


def _wake(boxes: list[Outbox]) -> None:
    for box in boxes:
        box.wake()
