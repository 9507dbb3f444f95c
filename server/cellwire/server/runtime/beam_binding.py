"""A size of beam batch, bound to arrays of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult, Bools, EndedHypotheses
from cellwire.server.programs.beam_program import (
    BEFORE_END,
    END,
    ENDED,
    ENDED_LOG_PROBABILITY,
    FINAL_GREEDY,
    GREEDY,
    LOG_PROBABILITY,
    MAY_END,
    NAN_CHECK,
    NEXT_LOG_PROBABILITY,
    PARENT,
    TOKEN,
    WIDTH,
)
from cellwire.server.programs.program import FIRST_TOKEN, READ_SLOT, STEPS, WRITE_SLOT
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Array, Compiled


class BeamSize(NamedTuple):
    """The program and the lengths that a binding is for."""

    may_end: bool  # whether some search may end before its maximum length
    steps: int
    beams: int
    width: int


class BeamBinding:
    """The arrays of one size of beam batch, bound to a program."""

    def __init__(
        self, compiled: Compiled, arenas: Mapping[str, Buffer], size: BeamSize, vocabulary: int
    ) -> None:
        """Allocate and bind the arrays; MemoryError if there is no room, StepFailed."""
        self._size = size
        self._vocabulary = vocabulary
        self._inputs = _inputs(size, vocabulary)
        self._outputs = _outputs(size)
        self._binding = Binding(compiled)
        self._binding.bind_arenas(arenas)
        for name, array in self._inputs.items():
            self._binding.input(name, array)
        for name, array in self._outputs.items():
            self._binding.output(name, array)

    def fill(self, batch: BeamBatch) -> None:
        """Copy a batch into the input arrays, without its ends."""
        inputs = self._inputs
        inputs[FIRST_TOKEN][:] = batch.token.reshape(-1)
        inputs[READ_SLOT][:] = batch.read_slot.reshape(-1)
        inputs[WRITE_SLOT][:] = batch.write_slot.reshape(-1)
        inputs[GREEDY][:, 0] = batch.greedy
        inputs[LOG_PROBABILITY][:, 0] = batch.log_probability.reshape(-1)

    def fill_ends(
        self, batch: BeamBatch, ends: Sequence[Bools], before_ends: Sequence[Bools]
    ) -> None:
        """Copy in each beam's masks `[vocabulary]`, for a size whose searches may end."""
        for beam, (end, before_end) in enumerate(zip(ends, before_ends, strict=True)):
            self._inputs[END][beam] = end
            self._inputs[BEFORE_END][beam] = before_end
        self._inputs[MAY_END][:, 0] = batch.may_end.reshape(-1)

    def run(self) -> None:
        """Run the program on the input arrays; StepFailed."""
        self._binding.run()

    def result(self) -> BeamBatchResult:
        """Return copies of the output arrays."""
        outputs = self._outputs
        ended = None
        if self._size.may_end:
            parent, token = np.divmod(outputs[ENDED], self._vocabulary)
            ended = EndedHypotheses(parent, token, outputs[ENDED_LOG_PROBABILITY].copy())
        broken = np.isnan(outputs[NAN_CHECK]).reshape(outputs[TOKEN].shape)
        return BeamBatchResult(
            parent=outputs[PARENT].copy(),
            token=outputs[TOKEN].copy(),
            log_probability=outputs[NEXT_LOG_PROBABILITY].copy(),
            ended=ended,
            greedy=outputs[FINAL_GREEDY][:, 0].copy(),
            broken=np.logical_or.reduce(broken, axis=(0, 2)),
        )

    def close(self) -> None:
        """Unbind the arrays."""
        self._binding.close()


def _inputs(size: BeamSize, vocabulary: int) -> dict[str, Array]:
    may_end, steps, beams, width = size
    inputs: dict[str, Array] = {
        STEPS: np.array(steps),
        FIRST_TOKEN: np.zeros(beams * width, np.int64),
        READ_SLOT: np.zeros(beams * width, np.int64),
        WRITE_SLOT: np.zeros(beams * width, np.int64),
        WIDTH: np.array([width]),
        GREEDY: np.zeros((beams, 1), np.int64),
        LOG_PROBABILITY: np.zeros((beams * width, 1)),
    }
    if may_end:
        inputs |= {
            END: np.zeros((beams, vocabulary), np.bool_),
            BEFORE_END: np.zeros((beams, vocabulary), np.bool_),
            MAY_END: np.zeros((beams * width, 1), np.bool_),
        }
    return inputs


def _outputs(size: BeamSize) -> dict[str, Array]:
    may_end, steps, beams, width = size
    outputs: dict[str, Array] = {
        PARENT: np.zeros((steps, beams, width), np.int64),
        TOKEN: np.zeros((steps, beams, width), np.int64),
        NEXT_LOG_PROBABILITY: np.zeros((steps, beams, width)),
        NAN_CHECK: np.zeros((steps, beams * width), np.float32),
        FINAL_GREEDY: np.zeros((beams, 1), np.int64),
    }
    if may_end:
        outputs |= {
            ENDED: np.zeros((steps, beams, width), np.int64),
            ENDED_LOG_PROBABILITY: np.zeros((steps, beams, width)),
        }
    return outputs
