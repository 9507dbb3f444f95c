"""Events on their way out of an engine: text waits for more text, an answer waits for nobody.

A message costs the processor more than the characters in it, so each should carry several, and the
more sessions there are, the more of them.
"""

from __future__ import annotations

from cellwire.server.session.events import Event, Written

_TEXT_WAITS_S = 0.020  # the time for which a screen shows one picture
_MESSAGE_S = 0.001  # of the time between two deliveries, for each session that has text


class EventBatcher:
    """Collects events until they are due."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Event]] = {}  # by session
        self._answered: dict[str, None] = {}  # sessions that have more than text
        self._last_s = float("-inf")

    def add(self, events: list[Event]) -> None:
        """Add events, in their order."""
        for event in events:
            self._waiting.setdefault(event.session_id, []).append(event)
            if not isinstance(event, Written):
                self._answered.setdefault(event.session_id)

    def due(self, now_s: float, *, idle: bool) -> list[Event]:
        """Return the events of sessions that have answers; of all, if it is time or no more come.

        Each session's are in their order.
        """
        wait_s = max(_TEXT_WAITS_S, _MESSAGE_S * len(self._waiting))
        if idle or now_s >= self._last_s + wait_s:
            due, self._waiting, self._last_s = self._waiting, {}, now_s
        else:
            due = {session_id: self._waiting.pop(session_id) for session_id in self._answered}
        self._answered = {}
        return [event for events in due.values() for event in events]
