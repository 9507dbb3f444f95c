"""The sessions that take part in the next run."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from cellwire.server.batch.stepper import Stepper
from cellwire.server.session.session import Session
from cellwire.server.session.task import MULTI_STEP, RunKind

# Single steps come in pairs: the first brings another program's weights into the processor's cache,
# and the run after them must bring its own weights back.
_SINGLE_STEPS = 2
_PLAIN_RUNS = 4  # before them
# From so many rows on, a card takes them in two halves, so that the host works on one while the
# card works on the other. A run of 16 steps takes the card some 1.6 ms with however few rows, since
# its kernels follow each other; the host takes some 6 us a row. Below 1.6 ms / 6 us, the second run
# would cost more than the host's time that it hides. (Reckoned, not measured.)
_ROWS_TO_HALVE = 256


class Scheduler:
    """Rounds of runnable sessions: each has its turn before any has a second.

    There is a round for each kind of run: plain rows of several steps, rows of several steps whose
    logits are adjusted, rows of single steps, and searches of each width. Another session's
    sampling therefore costs a plain one no more than a turn. Plain rows have four turns for two of
    single steps, and otherwise every second turn at least; the other rounds share the rest.

    The order of turns is the same with a run in flight. If all sessions whose turn it is are in
    that run, nothing runs before it is committed.
    """

    def __init__(self, stepper: Stepper, max_batch: int) -> None:
        """Limit a run to `max_batch` rows, or to one session if that has more."""
        self._stepper = stepper
        self._overlaps = stepper.overlaps
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

    @property
    def next_overlaps(self) -> bool:
        """Whether the next run goes on while the host works. Searches are over when they start."""
        return self._overlaps and not self.next_kind.beam_width

    def has_next(self, in_flight: Collection[Session]) -> bool:
        """Whether a run can start while these sessions are in flight."""
        return self.next_overlaps and bool(self._next_sessions(in_flight))

    def next_batch(self, in_flight: Collection[Session] = ()) -> list[Session]:
        """Return the sessions of the next run: as many as fit, longest wait first.

        There are none if those whose turn it is are in flight, or go with some that are.
        """
        batch, kind = self._next_sessions(in_flight), self.next_kind
        if not batch:
            return batch
        self._last = kind
        if kind == MULTI_STEP:
            self._plain_runs, self._single_steps = self._plain_runs + 1, 0
        elif kind.single_step:
            self._plain_runs, self._single_steps = 0, self._single_steps + 1
        sessions = self._rounds[kind] = self._rounds.pop(kind)
        if len(batch) < len(sessions):
            for session in batch:
                del sessions[session]
                sessions[session] = None
        return batch

    def _next_sessions(self, in_flight: Collection[Session]) -> list[Session]:
        kind = self.next_kind
        sessions = self._rounds.get(kind, {})
        most = self._most(kind, len(sessions))
        if not in_flight:
            return list(islice(sessions, most))
        batch = [session for session in sessions if session not in in_flight]
        # Sessions that fit into one run stay together: two runs would cost more.
        if len(batch) < len(sessions) <= most:
            return []
        return batch[:most]

    def _most(self, kind: RunKind, sessions: int) -> int:
        """Return the most sessions that a run of a round of so many takes."""
        most = max(1, self._max_batch // (kind.beam_width or 1))
        if self._overlaps and not kind.beam_width and sessions >= _ROWS_TO_HALVE:
            # A half costs as much as the rows it is padded to, so it has as many.
            most = min(most, self._stepper.padded_rows(-(-sessions // 2)))
        return most
