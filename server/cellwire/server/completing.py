"""Complete: search for the likeliest continuations, without moving the session."""

from __future__ import annotations

from cellwire.server.arena import Arena
from cellwire.server.beam import Beam
from cellwire.server.events import Completed, Completion
from cellwire.server.operations import Complete
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Run
from cellwire.server.trail import Trail


class Completing(Run):
    """Runs a beam from the session's state; all its hypotheses are rows of the same step."""

    operation: Complete

    def __init__(
        self, session_id: str, trail: Trail, emit: Emit, complete: Complete, arena: Arena
    ) -> None:
        """Begin the search; Full if there is no room for its states."""
        super().__init__(session_id, trail, emit)
        self.operation = complete
        self.results: tuple[Completion, ...] = ()
        self._beam = Beam(arena, complete)

    def rows(self, steps: int) -> list[Row]:  # noqa: ARG002  # after each step it branches
        """Return a row for each hypothesis."""
        return self._beam.rows(self.trail.unread, self.trail.head.slot)

    def commit(self, outcomes: list[Outcome]) -> None:
        """Go on with the best extensions; report the end, and if asked the best so far."""
        self._beam.commit(outcomes)
        self.row_count = self._beam.width
        done = self._beam.done
        partial = self.operation.partial_results and not done
        if done or partial:
            results = self._beam.results()
            if done or results != self.results:
                self.results = results
                self._report(partial=partial)
        self.ended = done

    def _report(self, *, partial: bool) -> None:
        self.emit(
            Completed(
                self.session_id, self.operation.id, len(self.trail), self.results, partial=partial
            )
        )

    def release(self) -> None:
        """Let go of the beam's slots."""
        self._beam.release()

    def held(self) -> list[int]:
        """Return the beam's slots."""
        return self._beam.held()
