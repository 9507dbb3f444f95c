"""A step batch: rows that take one or several steps in one run of the runtime.

Each row reads its state from a slot, takes its steps, and writes the state after the last step to a
slot. Each step but the first reads the token that the previous step chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

SAMPLED = -1  # in place of a forced token
MAX_STEPS = 16  # of a run


@dataclass(frozen=True, slots=True)
class LogitAdjustments:
    """Sampling beyond temperature and top_k, the same at every step.

    The last four columns change single logits: to `logit / penalty`, or `logit * penalty` where the
    logit is negative, and then by `+ bias`. Pairs of row and token are unique.
    """

    top_p: Float32s  # [batch]; 1 draws from all tokens
    log_min_p: Float32s  # [batch]; -inf draws from all tokens
    row: Int64s  # [changes]
    token: Int64s  # [changes]
    penalty: Float32s  # [changes]
    bias: Float32s  # [changes]


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The rows of one run, by column."""

    token: Int64s  # [batch], read by the first step
    read_slot: Int64s  # [batch], of the state before the first step
    write_slot: Int64s  # [batch], for the state after the last step
    count: Int64s  # [batch], the row's steps, from 1 to `steps`
    forced: Int64s  # [steps, batch], the next token after each step, or SAMPLED
    uniform: Float32s  # [steps, batch], random numbers from [0, 1) for sampled tokens
    inverse_temperature: Float32s  # [batch]
    top_k: Int64s  # [batch]; 0 draws from all tokens
    top_token_count: int = 0  # top tokens to report, in a run of one step
    adjustments: LogitAdjustments | None = None

    def __len__(self) -> int:
        return len(self.token)

    @property
    def steps(self) -> int:
        """The number of steps in the run."""
        return len(self.forced)

    @property
    def ragged(self) -> bool:
        """Whether some row takes fewer steps than the run has."""
        return self.steps > 1 and bool(self.count.min() < self.steps)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The chosen tokens and their log-probabilities; undefined beyond a row's count.

    Log-probabilities are natural logarithms, and the model's own: without any sampling parameter.
    """

    chosen: Int64s  # [steps, batch]
    log_probability: Float32s  # [steps, batch], of the chosen token
    top_token: Int64s  # [batch, top_token_count or more], the likeliest first
    top_log_probability: Float32s  # [batch, top_token_count or more]
    scores: Float32s | None = None  # [steps, batch, labels], of a model that has labels
