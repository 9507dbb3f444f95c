"""A durable session on its way out of the process."""

from __future__ import annotations

import asyncio


class Leaving:
    """Whether a session leaves, and who waits for that. Used in the event loop only."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] | None = None
        """Done when the session has left the process, or stays; None unless it is leaving."""

    @property
    def begun(self) -> bool:
        """Whether the session leaves, or has left."""
        return self.ended is not None

    def begin(self) -> None:
        """Let nothing attach from now on."""
        self.ended = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Note that the session has left, if it was to."""
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(None)

    def stay(self) -> None:
        """Do not leave after all."""
        self.end()
        self.ended = None
