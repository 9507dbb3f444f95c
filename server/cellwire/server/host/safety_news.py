"""The news of what has become safe, for a client that no answer tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cellwire.server.host.safe_revisions import SafePoint, SafeRevisions

_DELAY_S = 0.1
"""What has become safe waits so long for an answer that says it."""


class SafetyNews:
    """Tells a session's client what is safe, if no answer does. Used in the event loop only."""

    def __init__(self, safe: SafeRevisions, tell: Callable[[], None]) -> None:
        """`tell` is called when there is something to tell."""
        self.told: SafePoint | None = None  # what was safe at the last answer
        self._safe = safe
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    @property
    def any(self) -> bool:
        """Whether more is safe than the client knows."""
        return self._safe.point != self.told

    def tell_soon(self) -> None:
        """Tell in a moment what no answer has said until then."""
        if self.any and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_S, self._tell_now)

    def _tell_now(self) -> None:
        self._timer = None
        if self.any:
            self._tell()

    def close(self) -> None:
        """Tell nothing any more. A stopped timer keeps nothing alive."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
