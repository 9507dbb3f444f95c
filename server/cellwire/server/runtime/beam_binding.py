"""A size of beam batch, bound to arrays of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cellwire.server.batch.beam_step import (
    BeamBatch,
    BeamBatchResult,
    Bools,
    EndedHypotheses,
    Float64s,
)
from cellwire.server.programs.beam_program import (
    BEFORE_END,
    DEAD,
    END,
    END_OF_BEAM,
    END_OF_ROW,
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
    BeamProgram,
    size_inputs,
)
from cellwire.server.programs.program import FIRST_TOKEN, READ_SLOT, STEPS, WRITE_SLOT
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Array, Compiled

_ALIVE = DEAD / 10  # less is dead: DEAD, or the lowest finite number, which CUDA's TopK fills in


class EndMasks(NamedTuple):
    """A completion's end as masks over the vocabulary."""

    end: Bools  # [vocabulary], the tokens that end it
    before_end: Bools  # [vocabulary], the tokens that an end may follow


class BeamSize(NamedTuple):
    """The program and the lengths that a binding is for."""

    program: BeamProgram
    steps: int
    beams: int
    width: int
    ends: int  # different ones; 0 if no search may end early


class BeamBinding:
    """The arrays of one size of beam batch, bound to a program."""

    def __init__(
        self, compiled: Compiled, arenas: Mapping[str, Buffer], size: BeamSize, vocabulary: int
    ) -> None:
        """Allocate and bind the arrays; MemoryError if there is no room, StepFailed."""
        self._size = size
        self._vocabulary = vocabulary
        self._inputs = input_arrays(size, vocabulary)
        self._outputs = output_arrays(size)
        self._binding = Binding(compiled)
        self._binding.bind_arenas(arenas)
        for name, array in size_inputs(size.beams, size.width, vocabulary).items():
            self._binding.fixed_input(name, array)
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
        self, batch: BeamBatch, ends: Sequence[EndMasks], end_of_beam: Sequence[int]
    ) -> None:
        """Copy in the different ends and each beam's, for a size whose searches may end."""
        for place, masks in enumerate(ends):
            self._inputs[END][place] = masks.end
            self._inputs[BEFORE_END][place] = masks.before_end
        self._inputs[END_OF_BEAM][:] = end_of_beam
        by_beam = self._inputs[END_OF_ROW].reshape(batch.token.shape)
        by_beam[:] = self._inputs[END_OF_BEAM][:, None]
        self._inputs[MAY_END][:, 0] = batch.may_end.reshape(-1)

    def run(self) -> None:
        """Run the program on the input arrays; StepFailed."""
        self._binding.run()

    def result(self) -> BeamBatchResult:
        """Return copies of the output arrays."""
        outputs = self._outputs
        ended = None
        if self._size.ends:
            parent, token = np.divmod(outputs[ENDED], self._vocabulary)
            ended = EndedHypotheses(parent, token, _with_dead(outputs[ENDED_LOG_PROBABILITY]))
        broken = np.isnan(outputs[NAN_CHECK]).reshape(outputs[TOKEN].shape)
        return BeamBatchResult(
            parent=outputs[PARENT].copy(),
            token=outputs[TOKEN].copy(),
            log_probability=_with_dead(outputs[NEXT_LOG_PROBABILITY]),
            ended=ended,
            greedy=outputs[FINAL_GREEDY][:, 0].copy(),
            broken=np.logical_or.reduce(broken, axis=(0, 2)),
        )

    def close(self) -> None:
        """Unbind the arrays."""
        self._binding.close()


def _with_dead(log_probability: Float64s) -> Float64s:
    """Return a copy in which dead hypotheses have -inf."""
    copy = log_probability.copy()
    copy[copy < _ALIVE] = -np.inf
    return copy


def input_arrays(size: BeamSize, vocabulary: int) -> dict[str, Array]:
    """Return zeros for the inputs that differ from run to run."""
    rows = size.beams * size.width
    inputs: dict[str, Array] = {
        FIRST_TOKEN: np.zeros(rows, np.int64),
        READ_SLOT: np.zeros(rows, np.int64),
        WRITE_SLOT: np.zeros(rows, np.int64),
        GREEDY: np.zeros((size.beams, 1), np.int64),
        LOG_PROBABILITY: np.zeros((rows, 1)),
    }
    if size.program.steps is None:
        inputs[STEPS] = np.array(size.steps)
    if size.ends:
        inputs |= {
            END: np.zeros((size.ends, vocabulary), np.bool_),
            BEFORE_END: np.zeros((size.ends, vocabulary), np.bool_),
            END_OF_BEAM: np.zeros(size.beams, np.int64),
            END_OF_ROW: np.zeros(rows, np.int64),
            MAY_END: np.zeros((rows, 1), np.bool_),
        }
    return inputs


def output_arrays(size: BeamSize) -> dict[str, Array]:
    """Return zeros for all outputs but the arenas."""
    steps, beams, width = size.steps, size.beams, size.width
    outputs: dict[str, Array] = {
        PARENT: np.zeros((steps, beams, width), np.int64),
        TOKEN: np.zeros((steps, beams, width), np.int64),
        NEXT_LOG_PROBABILITY: np.zeros((steps, beams, width)),
        NAN_CHECK: np.zeros((steps, beams * width), np.float32),
        FINAL_GREEDY: np.zeros((beams, 1), np.int64),
    }
    if size.ends:
        outputs |= {
            ENDED: np.zeros((steps, beams, width), np.int64),
            ENDED_LOG_PROBABILITY: np.zeros((steps, beams, width)),
        }
    return outputs
