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
class StepBatch:
    """The rows of one step; every array is `[batch]`."""

    token: Int64s  # what each row reads
    read_slot: Int64s  # where its state is
    write_slot: Int64s  # where its next state goes
    forced: Int64s  # its next token, or SAMPLED
    inverse_temperature: Float32s
    uniform: Float32s  # from [0, 1); decides a sampled token
    top_k: Int64s  # 0 draws from all symbols

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step chose; both arrays are `[batch]`."""

    chosen: Int64s
    log_probability: Float32s  # of the chosen token, natural log, before temperature and top_k


class Stepper(Protocol):
    """Whatever can run a step: the runtime, or a test's plain model."""

    def step(self, batch: StepBatch) -> StepResult:
        """Run one step; StepFailed if it cannot be done, with the arena's rows then undefined."""
