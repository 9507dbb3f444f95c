"""The events of a session, on their way from its engine to the call attached to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cellwire.server.session.events import (
    Answer,
    Attached,
    AttachFailed,
    Closed,
    Completed,
    Detached,
    Event,
    Written,
    is_partial,
    without_appended,
)


class Outbox:
    """The events of one session that no call has taken yet. Used in the event loop only.

    Bounded by what may be on its way: the session's read-ahead in tokens, an answer for each
    operation that its stream has let through, and before each answer one partial result of a
    complete, which newer ones replace. While no call is attached, text and partial results are
    dropped: the session remembers its text, and Attached carries what a client has missed.
    """

    def __init__(self) -> None:
        self._unread: list[Event] = []  # for the call that is attached
        self._earlier: list[Event] = []  # before the awaited attach, for the call that attaches
        self._awaited: int | None = None  # the number of that attach
        self._news = asyncio.Event()
        self._keeps_text = True

    @property
    def unread(self) -> Sequence[Event]:
        """The events that `take` would return."""
        return self._unread

    @property
    def awaits_attach(self) -> bool:
        """Whether events are held back until an attach is answered."""
        return self._awaited is not None

    def take(self) -> list[Event]:
        """Take the unread events."""
        events, self._unread = self._unread, []
        return events

    async def more(self) -> None:
        """Wait for the next event, or for `wake`."""
        self._news.clear()
        await self._news.wait()

    def wake(self) -> None:
        """Let `more` return although there is no event."""
        self._news.set()

    def drop_text(self) -> None:
        """Keep no text and no partial results from now on: no call is attached."""
        self._keeps_text = False

    def keep_text(self) -> None:
        """Keep them from now on."""
        self._keeps_text = True

    def put(self, event: Event) -> None:
        """Add an event, and cut what was there at the answer to an awaited attach.

        The tokens of appends are dropped: the client has sent them, and they may be many.
        """
        if not isinstance(event, Written):
            event = without_appended(event)
        if self._awaited is not None:
            self._put_before_attach(event, self._awaited)
        elif self._keeps_text or not (isinstance(event, Written) or is_partial(event)):
            _add(self._unread, event)
            self._news.set()

    def await_attach(self, number: int) -> None:
        """Hold events back until the attach of this number is answered.

        Attached then comes first; of what was held back only answers follow it, since the rest was
        meant for the call before. If the attach fails, that is all its call gets, and the next
        attach gets the answers. So it is with a session that its engine has closed.
        """
        self._awaited = number
        earlier, self._earlier, self._unread = [*self._earlier, *self._unread], [], []
        for event in earlier:
            self._put_before_attach(event, number)

    def _put_before_attach(self, event: Event, number: int) -> None:
        match event:
            case Attached(operation_id=answered) if answered == number:
                self._unread = [event, *self._earlier, *self._unread]  # the end of it, if any
                self._earlier, self._awaited = [], None
            case AttachFailed(operation_id=answered) if answered == number:
                self._unread = self._unread or [event]
            case Closed(error=Exception()):
                self._unread = self._unread or [event]
            case _ if isinstance(event, Answer) and not isinstance(event, Detached):
                _add(self._earlier, event)
                return
            case _:
                return
        self._news.set()


def _add(events: list[Event], event: Event) -> None:
    """Add an event, in place of the partial results before it if it has newer ones."""
    last = events[-1] if events else None
    if (
        isinstance(event, Completed)
        and isinstance(last, Completed)
        and last.partial
        and event.operation_id == last.operation_id
    ):
        events.pop()
    events.append(event)
