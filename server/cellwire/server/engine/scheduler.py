"""The sessions that take part in the next run."""

from __future__ import annotations

from itertools import islice

from cellwire.server.session.session import Session
from cellwire.server.session.task import MULTI_STEP, RunKind

# Single steps come in pairs: the first brings another program's weights into the processor's cache,
# and the run after them must bring its own weights back.
_SINGLE_STEPS = 2
_PLAIN_RUNS = 4  # before them


class Scheduler:
    """Rounds of runnable sessions: each has its turn before any has a second.

    There is a round for each kind of run: plain rows of several steps, rows of several steps whose
    logits are adjusted, rows of single steps, and searches of each width. Another session's
    sampling therefore costs a plain one no more than a turn. Plain rows have four turns for two of
    single steps, and otherwise every second turn at least; the other rounds share the rest.
    """

    def __init__(self, max_batch: int) -> None:
        """Limit a run to `max_batch` rows, or to one session if that has more."""
        self._max_batch = max_batch
        # The next round to run, and within a round the next session, come first.
        self._rounds: dict[RunKind, dict[Session, None]] = {}
        self._kinds: dict[Session, RunKind] = {}  # of the round that each session is in
        self._last = MULTI_STEP  # the kind of the last run
        self._plain_runs = 0  # since the last single step
        self._single_steps = 0  # since the last plain run

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
        if MULTI_STEP not in self._rounds:
            return next(iter(self._rounds), MULTI_STEP)
        in_pair = self._last.single_step and self._single_steps < _SINGLE_STEPS
        if in_pair and self._last in self._rounds:
            return self._last
        if self._last != MULTI_STEP:
            return MULTI_STEP
        return next(filter(self._has_turn, self._rounds), MULTI_STEP)

    def _has_turn(self, kind: RunKind) -> bool:
        """Whether a round may run after plain rows."""
        if kind.single_step:
            return self._plain_runs >= _PLAIN_RUNS
        return kind != MULTI_STEP

    def next_batch(self) -> list[Session]:
        """Return the sessions of the next run: as many as fit, longest wait first."""
        if not self._rounds:
            return []
        kind = self._last = self.next_kind
        if kind == MULTI_STEP:
            self._plain_runs, self._single_steps = self._plain_runs + 1, 0
        elif kind.single_step:
            self._plain_runs, self._single_steps = 0, self._single_steps + 1
        sessions = self._rounds[kind] = self._rounds.pop(kind)
        count = max(1, self._max_batch // (kind.beam_width or 1))
        batch = list(islice(sessions, count))
        if len(batch) < len(sessions):
            for session in batch:
                del sessions[session]
                sessions[session] = None
        return batch
