"""The sessions that take part in the next run."""

from __future__ import annotations

from itertools import islice

from cellwire.server.session.session import Session
from cellwire.server.session.task import MULTI_STEP, RunKind


class Scheduler:
    """Rounds of runnable sessions: each has its turn before any has a second.

    There is a round for each kind of run: plain rows of several steps, rows of several steps whose
    logits are adjusted, rows of single steps, and searches of each width. So no plain session pays
    for another's sampling but by a turn. Plain rows have every second turn at least; the other
    rounds share the rest.
    """

    def __init__(self, max_batch: int) -> None:
        """Limit a run to `max_batch` rows, or to one session if that has more."""
        self._max_batch = max_batch
        # The next round to run, and within a round the next session, come first.
        self._rounds: dict[RunKind, dict[Session, None]] = {}
        self._kinds: dict[Session, RunKind] = {}  # of the round that each session is in
        self._last = MULTI_STEP  # the kind of the last run

    @property
    def idle(self) -> bool:
        """Whether no session is runnable."""
        return not self._kinds

    @property
    def runnable(self) -> dict[Session, RunKind]:
        """The runnable sessions, with the kind of their next run."""
        return dict(self._kinds)

    def update(self, session: Session) -> None:
        """Move a session to the round of its next run, or out of all."""
        kind = session.active.run_kind if session.runnable else None
        before = self._kinds.get(session)
        if kind == before:
            return
        if before is not None:
            del self._kinds[session]
            del self._rounds[before][session]
            if not self._rounds[before]:
                del self._rounds[before]
        if kind is not None:
            self._kinds[session] = kind
            self._rounds.setdefault(kind, {})[session] = None

    @property
    def next_kind(self) -> RunKind:
        """The kind of the next run; without meaning if no session is runnable."""
        if self._last != MULTI_STEP and MULTI_STEP in self._rounds:
            return MULTI_STEP
        return next((kind for kind in self._rounds if kind != self._last), self._last)

    def next_batch(self) -> list[Session]:
        """Return the sessions of the next run: as many as fit, longest wait first."""
        if not self._rounds:
            return []
        kind = self._last = self.next_kind
        sessions = self._rounds[kind] = self._rounds.pop(kind)
        count = max(1, self._max_batch // (kind.beam_width or 1))
        batch = list(islice(sessions, count))
        if len(batch) < len(sessions):
            for session in batch:
                del sessions[session]
                sessions[session] = None
        return batch
