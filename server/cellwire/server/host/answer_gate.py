"""Answers that wait until what they report is safe."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from cellwire.server.batch.limits import SAFE_FIRST_TIMEOUT_S
from cellwire.server.errors import CellwireError
from cellwire.server.host.safe_revisions import SafeRevisions
from cellwire.server.session.events import Closed, Detached, Event, Rejected, Saved


class _Waiting(NamedTuple):
    event: Event
    revision: int  # of the session, that it reports
    copy: SafeRevisions | None  # of the session that it reports to exist


class AnswerGate:
    """Holds back the answers of one durable session, in their order. Used in the event loop only.

    With `all_wait`, every answer waits until its revision is safe; otherwise only those to `save`,
    and with `created_first` those before the session itself is in the store, and behind them the
    end of the session or the stream. If the first of them has waited too long, `on_timeout` is
    called, once for each wait.
    """

    def __init__(
        self,
        safe: SafeRevisions,
        put: Callable[[Event], None],
        on_timeout: Callable[[], None],
        *,
        all_wait: bool,
    ) -> None:
        """`put` takes the events that need not wait any more."""
        self._safe = safe
        self._put = put
        self._on_timeout = on_timeout
        self._all_wait = all_wait
        self.created_first = False
        self._waiting = deque[_Waiting]()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many answers are held back."""
        return len(self._waiting)

    @property
    def only_saves_wait(self) -> bool:
        """Whether other answers come at once."""
        return not self._all_wait and not self._waits_for_creation

    @property
    def _waits_for_creation(self) -> bool:
        return self.created_first and self._safe.point is None

    def put(self, event: Event, revision: int, copy: SafeRevisions | None = None) -> None:
        """Pass an event on, now or when its revision is safe, and the `copy` that it reports."""
        waiting = _Waiting(event, revision, copy)
        waits = (
            self._all_wait
            or self._waits_for_creation
            or isinstance(event, Saved)
            or (bool(self._waiting) and isinstance(event, Closed | Detached))
        )
        if waits and (self._waiting or not self._is_safe(waiting)):
            self._waiting.append(waiting)
            if self._timer is None:
                self.wait_anew()
        else:
            self._put(event)

    def _is_safe(self, waiting: _Waiting) -> bool:
        copy = waiting.copy
        copy_safe = copy is None or copy.point is not None or copy.ended
        return copy_safe and waiting.revision <= self._safe.revision

    def open(self) -> None:
        """Pass on what need not wait any more."""
        passed = False
        while self._waiting and self._is_safe(self._waiting[0]):
            self._put(self._waiting.popleft().event)
            passed = True
        if passed:
            self.wait_anew()

    def reject_saves(self, error: CellwireError) -> None:
        """Pass on what is held back, although it has not become safe: saves have failed."""
        self._stop_timer()
        while self._waiting:
            waiting = self._waiting.popleft()
            self._put(
                _rejected(waiting, error) if isinstance(waiting.event, Saved) else waiting.event
            )

    def reject_copy(self, copy: SafeRevisions, error: CellwireError) -> None:
        """Let the report of a copy say that there is none: the store has refused it."""
        for at, waiting in enumerate(self._waiting):
            if waiting.copy is copy:
                self._waiting[at] = waiting._replace(event=_rejected(waiting, error), copy=None)

    def wait_anew(self) -> None:
        """Let what is held back wait as long as if it had just come."""
        self._stop_timer()
        if self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SAFE_FIRST_TIMEOUT_S, self._on_timeout)

    def close(self) -> None:
        """Pass nothing on any more. A stopped timer keeps nothing alive."""
        self._stop_timer()
        self._waiting.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _rejected(waiting: _Waiting, error: CellwireError) -> Rejected:
    return Rejected(waiting.event.session_id, waiting.event.operation_id or 0, error)
