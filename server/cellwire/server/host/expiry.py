"""The expiry of a session: how long it is kept while no call is attached to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Expiry:
    """A timer that calls `expire` once, in the event loop, unless it is stopped before.

    It runs exactly while a session waits for a call to attach (see SessionHandle).
    """

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the session waits for a call to attach."""
        return self._timer is not None

    def start(self, timeout_s: float) -> None:
        """Expire in so many seconds."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    def stop(self) -> None:
        """Do not expire; a stopped timer keeps nothing alive."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
