"""Whatever can step a cell: the runtime, or a test's plain model."""

from __future__ import annotations

from typing import Protocol

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult

State = tuple[bytes, ...]  # one row of each of the cell's state tensors


class Stepper(Protocol):
    """Keeps the states of all slots, and moves them on."""

    def supported_steps(self, steps: int) -> int:
        """Return the longest stride it makes of no more than so many steps."""

    def step(self, batch: StepBatch) -> StepResult:
        """Make a stride; StepFailed if it cannot be done, with the arena's rows then undefined.

        NotCompiled if it cannot be begun, and all rows are as they were.
        """

    def search(self, batch: BeamBatch) -> BeamBatchResult:
        """Take searches some steps on; StepFailed, NotCompiled as above."""

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""

    def write_state(self, slot: int, state: State) -> None:
        """Put a state into a slot; InvalidRequest if it has not this cell's shape."""
