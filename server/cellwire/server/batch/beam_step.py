"""Several steps of beam searches in one run of the runtime: what goes in, what comes out.

All searches of a batch have one width, and each has as many rows: its hypotheses, in the order of
their texts. Rows may be dead: nobody needs them, and their log-probability is -inf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.step import MAX_STEPS, Int64s

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# A run has fewer steps the more rows there are, so that it takes about as long as a stride. At the
# least it has as many as share what a run costs beside them.
_LEAST_STEPS = 4
_ROW_STEPS = 128


def beam_steps_for(rows: int) -> int:
    """Return how many steps a run of so many rows may have."""
    return min(MAX_STEPS, max(_LEAST_STEPS, _ROW_STEPS // rows))


class BeamInput(NamedTuple):
    """What one search goes on from; one of each for every row."""

    token: Sequence[int]  # the last of each
    read_slot: Sequence[int]  # where the state before it is
    write_slot: Sequence[int]  # and where the last state goes
    log_probability: Sequence[float]
    greedy: int  # which row is followed even if others are likelier
    may_end: Sequence[bool]  # whether an ending may come next
    ending: CompletionEnd


class BeamStep(NamedTuple):
    """What came of one step of a search."""

    # The hypotheses after it, [width],
    parent: Sequence[int]  # a row before it
    token: Sequence[int]
    log_probability: Sequence[float]
    # and the best that end with it, [width] or none, the best first; -inf where there are no more.
    ended_parent: Sequence[int] = ()
    ended_token: Sequence[int] = ()
    ended_log_probability: Sequence[float] = ()


class BeamResult(NamedTuple):
    """What came of a run of one search."""

    steps: list[BeamStep]
    greedy: int
    broken: bool  # whether the model's output was not a number


@dataclass(frozen=True, slots=True)
class BeamBatch:
    """Searches of one width, and how many steps they are to take."""

    steps: int
    token: Int64s  # [beams, width]; this and all below as in Hypotheses
    read_slot: Int64s  # [beams, width]
    write_slot: Int64s  # [beams, width]
    log_probability: Float64s  # [beams, width]
    greedy: Int64s  # [beams]
    may_end: Bools  # [beams, width]
    endings: tuple[CompletionEnd, ...]  # [beams]


@dataclass(frozen=True, slots=True)
class EndedHypotheses:
    """The best that ended with each step, as in Extended."""

    parent: Int64s  # [steps, beams, width]
    token: Int64s  # [steps, beams, width]
    log_probability: Float64s  # [steps, beams, width]


@dataclass(frozen=True, slots=True)
class BeamBatchResult:
    """What came of each step, as in Extended."""

    parent: Int64s  # [steps, beams, width]
    token: Int64s  # [steps, beams, width]
    log_probability: Float64s  # [steps, beams, width]
    ended: EndedHypotheses | None  # None if none of the searches may end early
    greedy: Int64s  # [beams], after the last step
    broken: Bools  # [beams]


def batch_of(searches: Sequence[BeamInput], steps: int) -> BeamBatch:
    """Return the batch that takes all of them on."""
    token, read_slot, write_slot, log_probability, greedy, may_end, endings = zip(
        *searches, strict=True
    )
    return BeamBatch(
        steps,
        np.array(token, np.int64),
        np.array(read_slot, np.int64),
        np.array(write_slot, np.int64),
        np.array(log_probability, np.float64),
        np.array(greedy, np.int64),
        np.array(may_end, np.bool_),
        endings,
    )


def beam_results(result: BeamBatchResult) -> list[BeamResult]:
    """Return what came of each search."""
    columns: list[npt.NDArray[Any]] = [result.parent, result.token, result.log_probability]
    if ended := result.ended:
        columns += [ended.parent, ended.token, ended.log_probability]
    return [
        BeamResult(
            [
                BeamStep(*step)
                for step in zip(*(column[:, beam].tolist() for column in columns), strict=True)
            ],
            greedy=int(result.greedy[beam]),
            broken=bool(result.broken[beam]),
        )
        for beam in range(len(result.greedy))
    ]
