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
        written = [slot for slot in batch.write_slot.tolist() if slot != TRASH]
        assert len(set(written)) == len(written), "two rows write one slot"
        assert ZERO not in written, "a row writes what is always zero"
        assert (batch.count >= 1).all()
        assert (batch.count <= batch.steps).all()
        assert batch.steps == 1 or not batch.best
        rows = [self.walk(batch, row) for row in range(len(batch))]
        for slot, (texts, _) in zip(batch.write_slot, rows, strict=True):
            self.arena[int(slot)] = texts[-1]
        shape = (batch.steps, len(batch))
        chosen, log_probability = np.zeros(shape, np.int64), np.full(shape, np.nan, np.float32)
        scores = np.full((*shape, LABELS), np.nan, np.float32)
        for row, (texts, tokens) in enumerate(rows):
            for step, (text, token) in enumerate(zip(texts, tokens, strict=True)):
                chosen[step, row] = token
                log_probability[step, row] = log_probability_of(text, token)
                scores[step, row] = scores_after(text)
        best = [likeliest_after(texts[0]) for texts, _ in rows]
        return StepResult(
            chosen,
            log_probability,
            np.array([[token for token, _ in row] for row in best], np.int64),
            np.array([[log for _, log in row] for row in best], np.float32),
            scores,
        )

    def walk(self, batch: StepBatch, row: int) -> tuple[list[Text], Text]:
        """What a row has read after each of its steps, and the tokens they settled."""
        texts: list[Text] = []
        tokens: Text = ()
        text, token = self.arena[int(batch.read_slot[row])], int(batch.token[row])
        for step in range(int(batch.count[row])):
            text = (*text, token)
            forced, uniform = int(batch.forced[step, row]), float(batch.uniform[step, row])
            token = forced if forced != SAMPLED else token_after(text, uniform)
            texts.append(text)
            tokens = (*tokens, token)
        return texts, tokens

    def read_state(self, slot: int) -> State:
        return (bytes(self.arena[slot]),)

    def write_state(self, slot: int, state: State) -> None:
        self.arena[slot] = tuple(state[0])
