"""A plain stepper whose runs go on while the engine works, as they do on a card."""

from __future__ import annotations

from collections.abc import Callable

from tests.server.plain_stepper import PlainStepper, Text

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.slots import TRASH
from cellwire.server.batch.step import Int64s, StepBatch, StepResult
from cellwire.server.batch.stepper import Run, State

AT_ONCE = 2  # runs in flight


class PlainRun:
    """A run that is computed when it is waited for, from the states at its start."""

    def __init__(
        self,
        stepper: OverlappingStepper,
        reads: Int64s,
        writes: Int64s,
        end: Callable[[], StepResult],
    ) -> None:
        self.stepper = stepper
        self.reads = set(reads.flatten().tolist())
        self.writes = set(writes.flatten().tolist()) - {TRASH}
        self.end = end
        self.texts = self.texts_now()

    def texts_now(self) -> dict[int, Text | None]:
        """The texts in all slots of the run."""
        return {slot: self.stepper.arena.get(slot) for slot in self.reads | self.writes}

    def wait(self) -> StepResult:
        runs = self.stepper.in_flight
        assert runs[0] is self, "runs are waited for in another order than they were started in"
        assert self.texts_now() == self.texts, "a slot of a run in flight was written"
        runs.pop(0)
        return self.end()


class OverlappingStepper(PlainStepper):
    """Asserts that nothing else touches the slots of a run in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight: list[PlainRun] = []
        self.most_in_flight = 0

    @property
    def overlaps(self) -> bool:
        return True

    def start(self, batch: StepBatch) -> Run[StepResult]:
        run = PlainRun(self, batch.read_slot, batch.write_slot, lambda: self.step(batch))
        self.add(run)
        return run

    def start_beams(self, batch: BeamBatch) -> Run[BeamBatchResult]:
        assert not self.in_flight, "a run in flight waits for a search"
        return super().start_beams(batch)

    def add(self, run: PlainRun) -> None:
        self.check_access(run.reads, run.writes)
        self.in_flight.append(run)
        assert len(self.in_flight) <= AT_ONCE, "too many runs are in flight"
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def check_access(self, reads: set[int], writes: set[int]) -> None:
        for run in self.in_flight:
            assert not run.writes & (reads | writes), "a slot that a run in flight writes is used"
            assert not run.reads & writes, "a slot that a run in flight reads is written"

    def read_state(self, slot: int) -> State:
        self.check_access({slot}, set())
        return super().read_state(slot)

    def write_state(self, slot: int, state: State) -> None:
        self.check_access(set(), {slot})
        super().write_state(slot, state)
