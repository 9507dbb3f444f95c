"""How much may wait for a store that is slow or fails, and the sessions that wait for room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from cellwire.server.engine import commands
from cellwire.server.errors import ResourceExhausted
from cellwire.server.host.session_handle import SessionHandle

MOST_WAITING_BYTES = 256 * 1024 * 1024
"""Beyond it durable sessions take no more text, so that nothing has to be dropped."""


class StoreRoom:
    """Keeps texts from growing faster than the store takes them. Used in the event loop only.

    While too much waits, new text is refused, and sessions that generate pause.
    """

    def __init__(self, waiting_bytes: Callable[[], int]) -> None:
        """`waiting_bytes` tells how much waits for the store."""
        self._waiting_bytes = waiting_bytes
        self._withheld = Counter[SessionHandle]()  # tokens that they may generate later

    @property
    def full(self) -> bool:
        """Whether too much waits."""
        return self._waiting_bytes() > MOST_WAITING_BYTES

    def check(self) -> None:
        """Raise ResourceExhausted if there is no room for more text."""
        if self.full:
            raise ResourceExhausted(
                f"more than {MOST_WAITING_BYTES >> 20} MiB of durable sessions wait for the "
                "daemon's store, which is slow or fails; nothing is lost, and texts can grow again "
                "when it works: try again later"
            )

    def grant(self, session: SessionHandle, tokens: int) -> None:
        """Let a session generate so many more tokens, now or when there is room."""
        if self.full:
            self._withheld[session] += tokens
        else:
            session.post(commands.GrantTokens(session.id, tokens))

    def drop(self, session: SessionHandle) -> None:
        """Grant a session nothing of what was withheld."""
        self._withheld.pop(session, None)

    def look(self) -> None:
        """Grant what was withheld, if there is room now."""
        if self._withheld and not self.full:
            withheld, self._withheld = self._withheld, Counter()
            for session, tokens in withheld.items():
                self.grant(session, tokens)
