"""Which sessions take part in the next step."""

from __future__ import annotations

from itertools import islice

from cellwire.server.session.session import Session


class Scheduler:
    """A round of all runnable sessions: each gets its turn before any gets a second.

    Those with rows for a stride have one round, those that search one for each width, and these
    rounds take turns. So while all searches are of one width, a stride waits for one run of
    searches at most, and they wait for one stride.
    """

    def __init__(self, max_batch: int) -> None:
        """Let a step take up to `max_batch` rows, or one session if that has more."""
        self._max_batch = max_batch
        # By beam width, 0 for strides; in a round the next to run comes first.
        self._rounds: dict[int, dict[Session, None]] = {}
        self._widths: dict[Session, int] = {}  # of the round that each session is in
        self._last = 0  # the round whose turn was last

    @property
    def idle(self) -> bool:
        """Whether no session can go on."""
        return not self._widths

    @property
    def runnable(self) -> dict[Session, int]:
        """The sessions that can go on, and how wide they search; 0 if they have rows instead."""
        return dict(self._widths)

    def update(self, session: Session) -> None:
        """Take note of whether the session can go on now, and with what."""
        width = session.beam_width if session.runnable else None
        before = self._widths.get(session)
        if width == before:
            return
        if before is not None:
            del self._widths[session]
            del self._rounds[before][session]
            if not self._rounds[before]:
                del self._rounds[before]
        if width is not None:
            self._widths[session] = width
            self._rounds.setdefault(width, {})[session] = None

    def next_batch(self) -> list[Session]:
        """Return the sessions of one round that have waited longest, as many as fit one step."""
        if not self._rounds:
            return []
        self._last = next((width for width in self._rounds if width != self._last), self._last)
        sessions = self._rounds[self._last] = self._rounds.pop(self._last)
        count = max(1, self._max_batch // (self._last or 1))
        batch = list(islice(sessions, count))
        if len(batch) < len(sessions):
            for session in batch:
                del sessions[session]
                sessions[session] = None
        return batch
