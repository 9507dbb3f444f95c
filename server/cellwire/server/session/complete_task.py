"""Complete: search for the likeliest continuations, without moving the session."""

from __future__ import annotations

from cellwire.server.batch.beam_step import BeamInput, BeamResult
from cellwire.server.session.beam import Beam
from cellwire.server.session.events import Completed, Completion
from cellwire.server.session.operations import Complete
from cellwire.server.session.task import Emit, Task
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory


class CompleteTask(Task):
    """Runs a beam from the session's state."""

    operation: Complete

    def __init__(
        self,
        session_id: str,
        state_history: StateHistory,
        emit: Emit,
        complete: Complete,
        arena: Arena,
    ) -> None:
        """Begin the search; Full if there is no room for its states."""
        super().__init__(session_id, state_history, emit)
        self.operation = complete
        self.beam_width = complete.beam_width
        self.results: tuple[Completion, ...] = ()
        self._beam = Beam(arena, complete)
        self.max_steps = self._beam.max_steps

    def beam_input(self) -> BeamInput:
        """Return what the next run of the search goes on from."""
        return self._beam.beam_input(self.state_history.unread_token, self.state_history.head.slot)

    def commit_beam(self, found: BeamResult) -> None:
        """Take over what came of it; report the end, and if asked the best so far."""
        self._beam.commit(found)
        self.max_steps = self._beam.max_steps
        self.ended = self._beam.done
        if self.ended or self.operation.partial_results:
            results = self._beam.results()
            if self.ended or results != self.results:
                self.results = results
                self._report()

    def _report(self) -> None:
        offset, partial = len(self.state_history), not self.ended
        self.emit(
            Completed(self.session_id, self.operation.id, offset, self.results, partial=partial)
        )

    def release(self) -> None:
        """Let go of the beam's slots."""
        self._beam.release()

    def held(self) -> list[int]:
        """Return the beam's slots."""
        return self._beam.held()
