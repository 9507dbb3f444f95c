"""The interface that the engine steps a cell through: the runtime's, or a test's plain model's."""

from __future__ import annotations

from typing import Protocol

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult

State = tuple[
    bytes, ...
]  # one row of each of the cell's state tensors, float32 in little-endian bytes


class Stepper(Protocol):
    """Holds the states of all slots, and steps them."""

    def supported_steps(self, steps: int) -> int:
        """Return the largest number of steps that a run may have, up to `steps`."""

    def step(self, batch: StepBatch) -> StepResult:
        """Run a step batch.

        NotCompiled if the run could not start, with all states unchanged. StepFailed if the run
        failed, with the states in the written slots undefined.
        """

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        """Run a beam batch; NotCompiled and StepFailed as above."""

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""

    def write_state(self, slot: int, state: State) -> None:
        """Write a state to a slot; InvalidArgument if its shape is not this cell's."""
