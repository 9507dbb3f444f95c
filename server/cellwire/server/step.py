"""One step of the cell over a batch of rows: what goes in, what comes out, who can take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

SAMPLED = -1


@dataclass(frozen=True, slots=True)
class Shaping:
    """What some row of a step asks for beyond temperature and top_k.

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
    """The rows of one step; every array is `[batch]`."""

    token: Int64s  # what each row reads
    read_slot: Int64s  # where its state is
    write_slot: Int64s  # where its next state goes
    forced: Int64s  # its next token, or SAMPLED
    inverse_temperature: Float32s
    uniform: Float32s  # from [0, 1); decides a sampled token
    top_k: Int64s  # 0 draws from all symbols
    best: int = 0  # how many of the likeliest tokens to report for each row
    shaping: Shaping | None = None

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step chose, and what the model thought.

    Log-probabilities are natural logs, and the model's own: before anything that sampling does.
    """

    chosen: Int64s  # [batch]
    log_probability: Float32s  # [batch], of the chosen token
    best_token: Int64s  # [batch, best or more], the likeliest first
    best_log_probability: Float32s  # [batch, best or more]
    scores: Float32s | None = None  # [batch, labels], of a model that has labels


State = tuple[bytes, ...]  # one row of each of the cell's state tensors


class Stepper(Protocol):
    """Whatever can run a step: the runtime, or a test's plain model."""

    def step(self, batch: StepBatch) -> StepResult:
        """Run one step; StepFailed if it cannot be done, with the arena's rows then undefined."""

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""

    def write_state(self, slot: int, state: State) -> None:
        """Put a state into a slot; InvalidRequest if it has not this cell's shape."""
