"""A stride of the cell over a batch of rows: what goes in, what comes out.

A stride is one or several steps in one run of the runtime. Each row reads its state, takes up to so
many steps from it, each reading the token that the step before it settled, and writes the state it
has come to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

SAMPLED = -1
MAX_STEPS = 16  # of a stride


@dataclass(frozen=True, slots=True)
class LogitAdjustments:
    """What some row of a stride asks for beyond temperature and top_k, the same at every step.

    The last four columns change single logits: `logit / penalty`, or `logit * penalty` where it is
    negative, and then `+ bias`. No pair of row and token comes twice.
    """

    top_p: Float32s  # [batch]; 1 draws from all symbols
    log_min_p: Float32s  # [batch]; -inf draws from all symbols
    row: Int64s  # [changes]
    token: Int64s  # [changes]
    penalty: Float32s  # [changes]
    bias: Float32s  # [changes]


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The rows of one stride."""

    token: Int64s  # [batch], what each row's first step reads
    read_slot: Int64s  # [batch], where its state is
    write_slot: Int64s  # [batch], where its last state goes
    count: Int64s  # [batch], how many of the steps it takes, at least 1
    forced: Int64s  # [steps, batch], the next token after each step, or SAMPLED
    uniform: Float32s  # [steps, batch], from [0, 1); decides a sampled token
    inverse_temperature: Float32s  # [batch]
    top_k: Int64s  # [batch], 0 draws from all symbols
    top_token_count: int = 0  # how many of the likeliest tokens to report, of a stride of one step
    adjustments: LogitAdjustments | None = None

    def __len__(self) -> int:
        return len(self.token)

    @property
    def steps(self) -> int:
        """How many steps the stride has."""
        return len(self.forced)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What each step chose, and what the model thought; undefined beyond a row's count.

    Log-probabilities are natural logs, and the model's own: before anything that sampling does.
    """

    chosen: Int64s  # [steps, batch]
    log_probability: Float32s  # [steps, batch], of the chosen token
    top_token: Int64s  # [batch, top_token_count or more], the likeliest first
    top_log_probability: Float32s  # [batch, top_token_count or more]
    scores: Float32s | None = None  # [steps, batch, labels], of a model that has labels
