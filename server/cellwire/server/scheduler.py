"""Which sessions take part in the next step."""

from __future__ import annotations

from cellwire.server.session import Session


class Scheduler:
    """A round of all runnable sessions: each gets its turn before any gets a second."""

    def __init__(self, max_batch: int) -> None:
        """Let a step take up to `max_batch` rows, or one session if that has more."""
        self._max_batch = max_batch
        self._round: dict[Session, None] = {}  # the next to run comes first

    @property
    def idle(self) -> bool:
        """Whether no session has a row for the next step."""
        return not self._round

    @property
    def runnable(self) -> frozenset[Session]:
        """The sessions that have a row for the next step."""
        return frozenset(self._round)

    def update(self, session: Session) -> None:
        """Take note of whether the session is runnable now."""
        if session.runnable:
            self._round.setdefault(session)
        else:
            self._round.pop(session, None)

    def next_batch(self) -> list[Session]:
        """Return the sessions that have waited longest, as many as fit into one step."""
        batch: list[Session] = []
        rows = 0
        for session in self._round:
            rows += session.row_count
            if batch and rows > self._max_batch:
                break
            batch.append(session)
        if len(batch) < len(self._round):
            for session in batch:
                del self._round[session]
                self._round[session] = None
        return batch
