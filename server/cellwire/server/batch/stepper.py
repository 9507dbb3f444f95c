"""The interface that the engine steps a cell through: the runtime's, or a test's plain model's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.step import StepBatch, StepResult

State = tuple[
    bytes, ...
]  # one row of each of the cell's state tensors, float32 in little-endian bytes

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Run(Protocol[Result_co]):
    """A run that has started."""

    def wait(self) -> Result_co:
        """Wait for the end, and return the result; StepFailed. It is called once."""


@dataclass(frozen=True, slots=True)
class FinishedRun(Generic[Result]):
    """A run whose start did all of the work."""

    result: Result

    def wait(self) -> Result:
        """Return the result."""
        return self.result


class Stepper(Protocol):
    """Holds the states of all slots, and steps them.

    Up to two runs are in flight, and are waited for in the order of their starts. The slots that a
    run writes are its own until then; those that it reads may be read, but not written.
    """

    @property
    def overlaps(self) -> bool:
        """Whether a run of rows goes on while the caller works.

        If not, its start does all of the work, as that of a beam batch always does.
        """

    def padded_rows(self, rows: int) -> int:
        """Return the number of rows that a run of `rows` rows costs as much as."""

    def supported_steps(self, steps: int) -> int:
        """Return the largest number of steps that a run may have, up to `steps`."""

    def start(self, batch: StepBatch) -> Run[StepResult]:
        """Start the run of a step batch; this may wait for the end of the one before.

        NotCompiled if the run could not start, with all states unchanged. StepFailed, here or where
        it is waited for, if the run failed, with the states in the written slots undefined.
        """

    def start_beams(self, batch: BeamBatch) -> Run[BeamBatchResult]:
        """Run a beam batch, with no other run in flight; NotCompiled and StepFailed as above."""

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""

    def write_state(self, slot: int, state: State) -> None:
        """Write a state to a slot; InvalidArgument if its shape is not this cell's."""
