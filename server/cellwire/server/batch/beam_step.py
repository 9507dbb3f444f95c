"""A beam batch: beam searches that take several steps in one run of the runtime.

All searches of a batch have one width, and each has `width` rows: its hypotheses, in the order of
their texts. Rows whose log-probability is -inf are dead: fillers of a search with fewer hypotheses,
whose parents mean nothing.
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

# The more rows, the fewer steps, so that a run takes about as long as that of a step batch. A few
# steps are needed to share the cost of the run itself.
_MIN_STEPS = 4
_ROW_STEPS = 128


def beam_steps_for(rows: int) -> int:
    """Return the most steps for a run of so many rows."""
    return min(MAX_STEPS, max(_MIN_STEPS, _ROW_STEPS // rows))


class BeamInput(NamedTuple):
    """One search's part of a run: its hypotheses so far."""

    token: Sequence[int]  # [width], each hypothesis's last token
    read_slot: Sequence[int]  # [width], of the state before that token
    write_slot: Sequence[int]  # [width], for the state after the last step
    log_probability: Sequence[float]  # [width], of the whole hypothesis
    greedy: int  # the row that is followed even if others are likelier
    may_end: Sequence[bool]  # [width], whether an end may come next
    ending: CompletionEnd


class BeamStep(NamedTuple):
    """The result of one step of a search."""

    # The hypotheses after the step.
    parent: Sequence[int]  # [width], a row before the step
    token: Sequence[int]  # [width]
    log_probability: Sequence[float]  # [width]
    # The best hypotheses that end with the step, the best first: [width], or empty if none may end.
    # Where the log-probability is -inf, the others are undefined.
    ended_parent: Sequence[int] = ()
    ended_token: Sequence[int] = ()
    ended_log_probability: Sequence[float] = ()  # -inf after the last


class BeamResult(NamedTuple):
    """The result of one search's steps."""

    steps: list[BeamStep]
    greedy: int  # the greedy hypothesis's row after the last step
    broken: bool  # whether the model's output had a NaN


@dataclass(frozen=True, slots=True)
class BeamBatch:
    """The searches of one run, by column; columns as in BeamInput."""

    steps: int
    token: Int64s  # [beams, width]
    read_slot: Int64s  # [beams, width]
    write_slot: Int64s  # [beams, width]
    log_probability: Float64s  # [beams, width]
    greedy: Int64s  # [beams]
    may_end: Bools  # [beams, width]
    endings: tuple[CompletionEnd, ...]  # [beams]


@dataclass(frozen=True, slots=True)
class EndedHypotheses:
    """The best hypotheses that ended with each step, as in BeamStep."""

    parent: Int64s  # [steps, beams, width]
    token: Int64s  # [steps, beams, width]
    log_probability: Float64s  # [steps, beams, width]


@dataclass(frozen=True, slots=True)
class BeamBatchResult:
    """The result of a run, by column; columns as in BeamStep."""

    parent: Int64s  # [steps, beams, width]
    token: Int64s  # [steps, beams, width]
    log_probability: Float64s  # [steps, beams, width]
    ended: EndedHypotheses | None  # None if no search may end before its maximum length
    greedy: Int64s  # [beams], after the last step
    broken: Bools  # [beams]


def batch_of(searches: Sequence[BeamInput], steps: int) -> BeamBatch:
    """Return the beam batch of some searches, all of one width."""
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
    """Return each search's result."""
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
