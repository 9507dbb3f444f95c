"""What a daemon knows of the sessions that it holds in a Redis server."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cellwire.server.store.redis_keys import Place


@dataclass(frozen=True, slots=True)
class Claim:
    """A session that this daemon holds."""

    epoch: int  # milliseconds since 1970 by the server's clock, or later
    place: Place | None  # that the session has safely reached; None: unknown
    is_certain: bool = True  # False: it may have come further, by a commit that failed


class Claims:
    """The claims of this daemon. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, Claim] = {}

    def get(self, session_id: str) -> Claim | None:
        """Return the claim to a session, if there is one."""
        with self._lock:
            return self._claims.get(session_id)

    def note(self, session_id: str, claim: Claim) -> None:
        """Know a claim."""
        with self._lock:
            self._claims[session_id] = claim

    def doubt(self, session_ids: Iterable[str]) -> None:
        """Be uncertain how far these sessions have come."""
        with self._lock:
            for session_id in session_ids:
                claim = self._claims.get(session_id)
                if claim is not None:
                    self._claims[session_id] = replace(claim, is_certain=False)

    def drop(self, session_id: str) -> None:
        """Know a claim no longer: the session was released, deleted or lost."""
        with self._lock:
            self._claims.pop(session_id, None)
