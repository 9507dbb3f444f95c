"""Runs a cell's searches on its arenas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult, Bools, EndedHypotheses
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.programs import beam_program as names
from cellwire.server.programs import program
from cellwire.server.runtime.compiled import Array, Binding, Buffer, Compiled
from cellwire.server.runtime.recent import Recent

_KEPT = 64  # sizes of batches, and endings

_Size = tuple[bool, int, int, int]  # whether they may end, steps, beams, rows


class BeamRunner:
    """The programs that search, and a binding for each of the last sizes of batches."""

    def __init__(
        self, compiled: Callable[[bool], Compiled], arenas: Mapping[str, Buffer], vocabulary: int
    ) -> None:
        """`compiled` gives the program for searches that may end early, or that do not."""
        self._compiled = compiled
        self._arenas = arenas
        self._vocabulary = vocabulary
        self._bound = Recent[_Size, _Bound](_KEPT)
        self._masks = Recent[CompletionEnd, tuple[Bools, Bools]](_KEPT)

    def search(self, batch: BeamBatch) -> BeamBatchResult:
        """Take searches some steps on; StepFailed if the runtime refuses."""
        beams, rows = batch.token.shape
        may_end = any(ending.tokens for ending in batch.endings)
        bound = self._bound_to((may_end, batch.steps, beams, rows))
        bound.fill(batch)
        if may_end:
            bound.fill_endings(batch, [self._masks_of(ending) for ending in batch.endings])
        bound.binding.run()
        return bound.result(self._vocabulary)

    def _bound_to(self, size: _Size) -> _Bound:
        """Return the arrays for a size of batch, made on first use."""
        if size not in self._bound:
            compiled = self._compiled(size[0])
            try:
                self._bound[size] = _Bound(compiled, self._arenas, size, self._vocabulary)
            except (MemoryError, StepFailed) as error:
                raise NotCompiled(f"there is no room for searches: {error}") from error
        return self._bound[size]

    def _masks_of(self, ending: CompletionEnd) -> tuple[Bools, Bools]:
        """Return which tokens end a completion, and which one may end behind: `[vocabulary]`."""
        if ending not in self._masks:
            tokens = range(self._vocabulary)
            ends = np.array([token in ending.tokens for token in tokens])
            may_follow = np.array([ending.may_follow(token) for token in tokens])
            self._masks[ending] = ends, may_follow
        return self._masks[ending]


class _Bound:
    """Arrays for batches of one size, and the binding to them."""

    def __init__(
        self,
        compiled: Compiled,
        arenas: Mapping[str, Buffer],
        size: _Size,
        vocabulary: int,
    ) -> None:
        self._may_end, steps, beams, rows = size
        self._size = steps, beams, rows
        self.binding = Binding(compiled)
        self.binding.move(arenas)
        self._inputs: dict[str, Array] = {
            program.STEPS: np.array(steps),
            program.FIRST_TOKEN: np.zeros(beams * rows, np.int64),
            program.READ_SLOT: np.zeros(beams * rows, np.int64),
            program.WRITE_SLOT: np.zeros(beams * rows, np.int64),
            names.WIDTH: np.array([rows]),
            names.GREEDY: np.zeros((beams, 1), np.int64),
            names.LOG_PROBABILITY: np.zeros((beams * rows, 1)),
        }
        self._outputs: dict[str, Array] = {
            names.PARENT: np.zeros((steps, beams, rows), np.int64),
            names.TOKEN: np.zeros((steps, beams, rows), np.int64),
            names.NEXT_LOG_PROBABILITY: np.zeros((steps, beams, rows)),
            names.SOUNDNESS: np.zeros((steps, beams * rows), np.float32),
            names.LAST_GREEDY: np.zeros((beams, 1), np.int64),
        }
        if self._may_end:
            self._inputs |= {
                names.ENDING: np.zeros((beams, vocabulary), np.bool_),
                names.BEFORE_ENDING: np.zeros((beams, vocabulary), np.bool_),
                names.MAY_END: np.zeros((beams * rows, 1), np.bool_),
            }
            self._outputs |= {
                names.ENDED: np.zeros((steps, beams, rows), np.int64),
                names.ENDED_LOG_PROBABILITY: np.zeros((steps, beams, rows)),
            }
        for name, array in self._inputs.items():
            self.binding.input(name, array)
        for name, array in self._outputs.items():
            self.binding.output(name, array)

    def fill(self, batch: BeamBatch) -> None:
        """Put a batch into the inputs."""
        inputs = self._inputs
        inputs[program.FIRST_TOKEN][:] = batch.token.reshape(-1)
        inputs[program.READ_SLOT][:] = batch.read_slot.reshape(-1)
        inputs[program.WRITE_SLOT][:] = batch.write_slot.reshape(-1)
        inputs[names.GREEDY][:, 0] = batch.greedy
        inputs[names.LOG_PROBABILITY][:, 0] = batch.log_probability.reshape(-1)

    def fill_endings(self, batch: BeamBatch, masks: list[tuple[Bools, Bools]]) -> None:
        """Likewise, where they may end: for each beam which tokens end it, and go before."""
        for beam, (ends, before) in enumerate(masks):
            self._inputs[names.ENDING][beam] = ends
            self._inputs[names.BEFORE_ENDING][beam] = before
        self._inputs[names.MAY_END][:, 0] = batch.may_end.reshape(-1)

    def result(self, vocabulary: int) -> BeamBatchResult:
        """Return copies of what the last run put into the outputs."""
        outputs = self._outputs
        ended = None
        if self._may_end:
            parent, token = np.divmod(outputs[names.ENDED], vocabulary)
            ended = EndedHypotheses(parent, token, outputs[names.ENDED_LOG_PROBABILITY].copy())
        broken = np.isnan(outputs[names.SOUNDNESS]).reshape(self._size)
        return BeamBatchResult(
            parent=outputs[names.PARENT].copy(),
            token=outputs[names.TOKEN].copy(),
            log_probability=outputs[names.NEXT_LOG_PROBABILITY].copy(),
            ended=ended,
            greedy=outputs[names.LAST_GREEDY][:, 0].copy(),
            broken=np.logical_or.reduce(broken, axis=(0, 2)),
        )
