"""The expiry of a session: how long it is kept while no call is attached to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Expiry:
    """A timer that runs exactly while a session waits for a call to attach (see SessionHandle)."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the session waits for a call to attach."""
        return self._timer is not None

    def start(self, timeout_s: float, expire: Callable[[], None]) -> None:
        """Call `expire` once, in the event loop, in `timeout_s` seconds, unless stopped before."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(timeout_s, expire)

    def stop(self) -> None:
        """Do not expire. A stopped timer keeps nothing alive."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
