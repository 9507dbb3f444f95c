"""Complete: search for the likeliest continuations. The session's text stays as it is."""

from __future__ import annotations

from cellwire.server.batch.beam_step import BeamInput, BeamResult
from cellwire.server.session.beam import Beam
from cellwire.server.session.events import Completed, Completion
from cellwire.server.session.operations import Complete
from cellwire.server.session.task import Emit, OperationTask, RunKind
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory


class CompleteTask(OperationTask):
    """Runs a beam search from the session's state."""

    operation: Complete

    def __init__(
        self,
        session_id: str,
        state_history: StateHistory,
        emit: Emit,
        complete: Complete,
        arena: Arena,
    ) -> None:
        """Begin the search; ResourceExhausted without slots for its states."""
        super().__init__(session_id, state_history, emit)
        self.operation = complete
        self.run_kind = RunKind(beam_width=complete.beam_width)
        self.ended = False
        self.results: tuple[Completion, ...] = ()
        self._beam = Beam(arena, complete)
        self.max_steps = self._beam.max_steps

    def beam_input(self) -> BeamInput:
        """Return the hypotheses that the next run extends."""
        return self._beam.input(self.state_history.unread_token, self.state_history.head.slot)

    def commit(self, result: BeamResult) -> None:
        """Record the result of a run; report the end, and on request the best so far."""
        self._beam.commit(result)
        self.max_steps = self._beam.max_steps
        self.ended = self._beam.done
        if self.ended or self.operation.partial_results:
            results = self._beam.results()
            if self.ended or results != self.results:
                self.results = results
                self._report()

    def _report(self) -> None:
        self.emit(
            Completed(
                self.session_id,
                self.operation.id,
                len(self.state_history),
                self.results,
                partial=not self.ended,
                after_blank=self.operation.after_blank,
            )
        )

    def release(self) -> None:
        """Free the beam's slots."""
        self._beam.release()

    def held_slots(self) -> list[int]:
        """Return the beam's slots."""
        return self._beam.held_slots()
