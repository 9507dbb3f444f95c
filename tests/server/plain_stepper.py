"""A cell whose state is simply the text read so far: the oracle for what is above the runtime."""

from __future__ import annotations

import zlib

import numpy as np

from cellwire.server.arena import ZERO
from cellwire.server.step import SAMPLED, StepBatch, StepResult

History = tuple[int, ...]

SYMBOLS = 7


def log_probability_of(history: History, token: int) -> float:
    """A number that depends on everything read and on the token; exact in float32."""
    return -(zlib.crc32(bytes([*history, token])) % 4096) / 256


def token_after(history: History, uniform: float) -> int:
    """A choice that depends on everything read and on the random number."""
    return (zlib.crc32(bytes(history)) + int(uniform * 1e6)) % SYMBOLS


class PlainStepper:
    """Keeps a history in each slot; every row is worked out from the text alone."""

    def __init__(self) -> None:
        self.arena: dict[int, History] = {ZERO: ()}
        self.batches: list[int] = []

    def step(self, batch: StepBatch) -> StepResult:
        self.batches.append(len(batch))
        histories = [
            (*self.arena[int(slot)], int(token))
            for slot, token in zip(batch.read_slot, batch.token, strict=True)
        ]
        assert len(set(batch.write_slot.tolist())) == len(batch), "two rows write one slot"
        chosen = []
        for history, forced, uniform in zip(histories, batch.forced, batch.uniform, strict=True):
            chosen.append(
                int(forced) if forced != SAMPLED else token_after(history, float(uniform))
            )
        for slot, history in zip(batch.write_slot, histories, strict=True):
            self.arena[int(slot)] = history
        log_probabilities = [
            log_probability_of(history, token)
            for history, token in zip(histories, chosen, strict=True)
        ]
        return StepResult(np.array(chosen, np.int64), np.array(log_probabilities, np.float32))
