"""A cell whose state is simply the text read so far: the oracle for what is above the runtime."""

from __future__ import annotations

import zlib

import numpy as np

from cellwire.server.arena import TRASH, ZERO
from cellwire.server.step import SAMPLED, State, StepBatch, StepResult

Text = tuple[int, ...]

SYMBOLS = 7
LABELS = 2


def log_probability_of(text: Text, token: int) -> float:
    """A number that depends on everything read and on the token; exact in float32, and in sums."""
    return -(zlib.crc32(bytes([*text, token])) % 4096) / 256


def token_after(text: Text, uniform: float) -> int:
    """A choice that depends on everything read and on the random number."""
    return (zlib.crc32(bytes(text)) + int(uniform * 1e6)) % SYMBOLS


def likeliest_after(text: Text) -> list[tuple[int, float]]:
    """All tokens with their log-probabilities, the likeliest first."""
    each = [(token, log_probability_of(text, token)) for token in range(SYMBOLS)]
    return sorted(each, key=lambda one: (-one[1], one[0]))


def scores_after(text: Text) -> tuple[float, ...]:
    """A number for each label."""
    return tuple((zlib.crc32(bytes([*text, 99 + label])) % 256) / 256 for label in range(LABELS))


class PlainStepper:
    """Keeps a text in each slot; every row is worked out from the text alone."""

    def __init__(self) -> None:
        self.arena: dict[int, Text] = {ZERO: ()}
        self.batches: list[int] = []

    def step(self, batch: StepBatch) -> StepResult:
        self.batches.append(len(batch))
        texts = [
            (*self.arena[int(slot)], int(token))
            for slot, token in zip(batch.read_slot, batch.token, strict=True)
        ]
        written = [slot for slot in batch.write_slot.tolist() if slot != TRASH]
        assert len(set(written)) == len(written), "two rows write one slot"
        assert ZERO not in written, "a row writes what is always zero"
        chosen = [
            int(forced) if forced != SAMPLED else token_after(text, float(uniform))
            for text, forced, uniform in zip(texts, batch.forced, batch.uniform, strict=True)
        ]
        for slot, text in zip(batch.write_slot, texts, strict=True):
            self.arena[int(slot)] = text
        log_probabilities = [
            log_probability_of(text, token) for text, token in zip(texts, chosen, strict=True)
        ]
        best = [likeliest_after(text) for text in texts]
        return StepResult(
            np.array(chosen, np.int64),
            np.array(log_probabilities, np.float32),
            np.array([[token for token, _ in row] for row in best], np.int64),
            np.array([[log for _, log in row] for row in best], np.float32),
            np.array([scores_after(text) for text in texts], np.float32),
        )

    def read_state(self, slot: int) -> State:
        return (bytes(self.arena[slot]),)

    def write_state(self, slot: int, state: State) -> None:
        self.arena[slot] = tuple(state[0])
