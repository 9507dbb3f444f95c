"""Answers that wait until what they report is safe."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from cellwire.server.batch.limits import SAFE_FIRST_TIMEOUT_S
from cellwire.server.session.events import Event, Saved


class AnswerGate:
    """Holds back the answers of one durable session, in their order. Used in the event loop only.

    With `all_wait`, every answer waits until its revision is safe; otherwise only those to `save`.
    If the first of them has waited too long, `on_timeout` is called, once for each wait.
    """

    def __init__(
        self, put: Callable[[Event], None], on_timeout: Callable[[], None], *, all_wait: bool
    ) -> None:
        """`put` takes the events that need not wait any more."""
        self._put = put
        self._on_timeout = on_timeout
        self._all_wait = all_wait
        self._waiting = deque[tuple[int, Event]]()  # with their revisions, which never fall
        self._safe_revision = -1  # not even the empty session
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether an answer is held back."""
        return bool(self._waiting)

    def put(self, event: Event, revision: int) -> None:
        """Pass an event on, now or when its revision is safe."""
        if revision > self._safe_revision and (self._all_wait or isinstance(event, Saved)):
            self._waiting.append((revision, event))
            if self._timer is None:
                self.wait_anew()
        else:
            self._put(event)

    def open_to(self, revision: int) -> None:
        """Pass on what waits for this revision."""
        self._safe_revision = revision
        if not self._waiting or self._waiting[0][0] > revision:
            return
        self._stop_timer()
        while self._waiting and self._waiting[0][0] <= revision:
            self._put(self._waiting.popleft()[1])
        self.wait_anew()

    def take(self) -> list[Event]:
        """Take what is held back, without its having become safe."""
        self._stop_timer()
        events = [event for _, event in self._waiting]
        self._waiting.clear()
        return events

    def wait_anew(self) -> None:
        """Let what is held back wait as long as if it had just come."""
        self._stop_timer()
        if self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SAFE_FIRST_TIMEOUT_S, self._on_timeout)

    def close(self) -> None:
        """Pass nothing on any more. A stopped timer keeps nothing alive."""
        self.take()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
