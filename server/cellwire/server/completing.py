"""Complete: search for the likeliest continuations, without moving the session."""

from __future__ import annotations

from cellwire.server.arena import Arena
from cellwire.server.beam import Beam
from cellwire.server.events import Completed, Completion
from cellwire.server.operations import Complete
from cellwire.server.run import Emit, Run
from cellwire.server.search import Found, Hypotheses
from cellwire.server.trail import Trail


class Completing(Run):
    """Runs a beam from the session's state."""

    operation: Complete

    def __init__(
        self, session_id: str, trail: Trail, emit: Emit, complete: Complete, arena: Arena
    ) -> None:
        """Begin the search; Full if there is no room for its states."""
        super().__init__(session_id, trail, emit)
        self.operation = complete
        self.beam_width = complete.beam_width
        self.results: tuple[Completion, ...] = ()
        self._beam = Beam(arena, complete)
        self.stride = self._beam.stride

    def hypotheses(self) -> Hypotheses:
        """Return what the next run of the search goes on from."""
        return self._beam.hypotheses(self.trail.unread, self.trail.head.slot)

    def commit_search(self, found: Found) -> None:
        """Take over what came of it; report the end, and if asked the best so far."""
        self._beam.commit(found)
        self.stride = self._beam.stride
        self.ended = self._beam.done
        if self.ended or self.operation.partial_results:
            results = self._beam.results()
            if self.ended or results != self.results:
                self.results = results
                self._report()

    def _report(self) -> None:
        offset, partial = len(self.trail), not self.ended
        self.emit(
            Completed(self.session_id, self.operation.id, offset, self.results, partial=partial)
        )

    def release(self) -> None:
        """Let go of the beam's slots."""
        self._beam.release()

    def held(self) -> list[int]:
        """Return the beam's slots."""
        return self._beam.held()
