"""Events on their way out of an engine: text waits for more text, answers do not wait.

A message costs the processor more than the tokens in it. Each should therefore carry several
tokens, and more of them the more sessions there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby

from cellwire.server.session.events import Event, StateRead, Written
from cellwire.server.session.operations import Generate

_TEXT_WAITS_S = 0.020  # about one frame of a screen
_MESSAGE_S = 0.001  # between two deliveries, for each session that has text
_MOST_S = 0.250  # between two deliveries, with however many sessions


class EventBatcher:
    """Collects events until they are due."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Event]] = {}  # by session
        self._answered: dict[str, None] = {}  # the sessions with more than text
        self._last_s = float("-inf")

    def add(self, events: list[Event]) -> None:
        """Add events, in their order."""
        for event in events:
            self._waiting.setdefault(event.session_id, []).append(event)
            if not isinstance(event, Written) and not isinstance(event, StateRead):
                self._answered.setdefault(event.session_id)

    def due(self, now_s: float, *, idle: bool) -> list[Event]:
        """Return the events that are due, each session's in their order, text in a row as one.

        Those of sessions with answers always are. Text is due after the delivery interval, and when
        the engine is idle. So are states, for which no client waits.
        """
        wait_s = min(_MOST_S, max(_TEXT_WAITS_S, _MESSAGE_S * len(self._waiting)))
        if idle or now_s >= self._last_s + wait_s:
            due, self._waiting, self._last_s = self._waiting, {}, now_s
        else:
            due = {session_id: self._waiting.pop(session_id) for session_id in self._answered}
        self._answered = {}
        return [event for events in due.values() for event in _joined(events)]


def _joined(events: list[Event]) -> list[Event]:
    """Return a session's events, with what one operation wrote in a row as one."""
    if len(events) == 1:
        return events
    joined: list[Event] = []
    for operation, group in groupby(events, _writer):
        if operation is None:
            joined.extend(group)
        else:
            joined.append(_as_one([event for event in group if isinstance(event, Written)]))
    return joined


def _writer(event: Event) -> Generate | None:
    return event.operation if isinstance(event, Written) else None


def _as_one(written: Sequence[Written]) -> Written:
    first = written[0]
    if len(written) == 1:
        return first
    # By position: there is one for every generating session in every delivery.
    return Written(
        first.session_id,
        first.operation,
        first.offset,
        [token for event in written for token in event.tokens],
        [number for event in written for number in event.log_probabilities],
        first.before,
        tuple(chain.from_iterable(event.alternatives for event in written)),
        first.after_blank,
    )
