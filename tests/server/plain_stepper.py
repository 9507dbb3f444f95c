"""A stepper whose states are the texts read so far: an oracle for everything above the runtime."""

from __future__ import annotations

import zlib

import numpy as np

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult, EndedHypotheses
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import SAMPLED, StepBatch, StepResult
from cellwire.server.batch.stepper import FinishedRun, Run, State

Text = tuple[int, ...]

SYMBOLS = 7
LABELS = 2


def log_probability_of(text: Text, token: int) -> float:
    """Return a function of the whole text and the token; it and its sums are exact in float32."""
    return -(zlib.crc32(bytes([*text, token])) % 4096) / 256


def token_after(text: Text, uniform: float) -> int:
    """Return the token chosen by the whole text and a uniform random number."""
    return (zlib.crc32(bytes(text)) + int(uniform * 1e6)) % SYMBOLS


def likeliest_after(text: Text) -> list[tuple[int, float]]:
    """Return all tokens with their log-probabilities, the likeliest first."""
    tokens = [(token, log_probability_of(text, token)) for token in range(SYMBOLS)]
    return sorted(tokens, key=lambda ranked: (-ranked[1], ranked[0]))


def scores_after(text: Text) -> tuple[float, ...]:
    """Return a score for each label."""
    return tuple((zlib.crc32(bytes([*text, 99 + label])) % 256) / 256 for label in range(LABELS))


class PlainStepper:
    """Keeps a text in each slot, and computes every row from that text alone."""

    def __init__(self) -> None:
        self.arena: dict[int, Text] = {ZERO: ()}
        self.batches: list[int] = []  # the rows of each run
        self.searches: list[tuple[int, int]] = []  # the beams and the steps of each run

    @property
    def overlaps(self) -> bool:
        return False

    def padded_rows(self, rows: int) -> int:
        return rows

    def supported_steps(self, steps: int) -> int:
        return steps

    def start(self, batch: StepBatch) -> Run[StepResult]:
        return FinishedRun(self.step(batch))

    def start_beams(self, batch: BeamBatch) -> Run[BeamBatchResult]:
        return FinishedRun(self.step_beams(batch))

    def step(self, batch: StepBatch) -> StepResult:
        self.batches.append(len(batch))
        written = [slot for slot in batch.write_slot.tolist() if slot != TRASH]
        assert len(set(written)) == len(written), "two rows write one slot"
        assert ZERO not in written, "a row writes the zero slot"
        assert (batch.count >= 1).all()
        assert (batch.count <= batch.steps).all()
        assert batch.steps == 1 or not batch.top_token_count
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
        """Return the text that a row has read after each step, and the tokens so determined."""
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

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        """Extend whole texts, and sort all extensions at every step."""
        beams, rows = batch.token.shape
        self.searches.append((beams, batch.steps))
        written = batch.write_slot.flatten().tolist()
        assert len(set(written)) == len(written), "two rows write one slot"
        assert ZERO not in written, "a row writes the zero slot"
        result = BeamBatchResult(
            parent=np.zeros((batch.steps, beams, rows), np.int64),
            token=np.zeros((batch.steps, beams, rows), np.int64),
            log_probability=np.full((batch.steps, beams, rows), -np.inf),
            ended=EndedHypotheses(
                parent=np.zeros((batch.steps, beams, rows), np.int64),
                token=np.zeros((batch.steps, beams, rows), np.int64),
                log_probability=np.full((batch.steps, beams, rows), -np.inf),
            ),
            greedy=np.zeros(beams, np.int64),
            broken=np.zeros(beams, np.bool_),
        )
        states = [
            [self.arena[slot] for slot in read_slots] for read_slots in batch.read_slot.tolist()
        ]
        for beam in range(beams):
            texts = self.search_on(batch, beam, states[beam], result)
            for slot, text in zip(batch.write_slot[beam].tolist(), texts, strict=True):
                self.arena[slot] = text
        return result

    def search_on(
        self, batch: BeamBatch, beam: int, states: list[Text], result: BeamBatchResult
    ) -> list[Text]:
        """Fill in the result of one search; return the texts that its rows have read."""
        ending, width = batch.endings[beam], len(states)
        tokens = batch.token[beam].tolist()
        totals = batch.log_probability[beam].tolist()
        may_end = batch.may_end[beam].tolist()
        greedy = int(batch.greedy[beam])
        for step in range(batch.steps):
            states = [(*state, token) for state, token in zip(states, tokens, strict=True)]
            extensions = sorted(
                (-(total + log_probability_of(state, token)), row, token)
                for row, (state, total) in enumerate(zip(states, totals, strict=True))
                for token in range(SYMBOLS)
                if total > -np.inf
            )
            ended = [e for e in extensions if may_end[e[1]] and e[2] in (ending.tokens or ())]
            for index, (total, row, token) in enumerate(ended[:width]):
                assert result.ended is not None
                result.ended.parent[step, beam, index] = row
                result.ended.token[step, beam, index] = token
                result.ended.log_probability[step, beam, index] = -total
            going_on = [e for e in extensions if e not in ended]
            likeliest = greedy, likeliest_after(states[greedy])[0][0]
            going_on.sort(key=lambda e: e[1:] != likeliest)  # the greedy extension first
            alive = sorted(going_on[:width], key=lambda e: e[1:])
            greedy = alive.index(going_on[0]) if alive else 0
            chosen = [e[1:] for e in alive] + [(0, 0)] * (width - len(alive))
            totals = [-e[0] for e in alive] + [-np.inf] * (width - len(alive))
            states, tokens = [states[row] for row, _ in chosen], [token for _, token in chosen]
            may_end = [ending.may_follow(token) for token in tokens]
            result.parent[step, beam] = [row for row, _ in chosen]
            result.token[step, beam] = tokens
            result.log_probability[step, beam] = totals
        result.greedy[beam] = greedy
        return states

    def read_state(self, slot: int) -> State:
        return (bytes(self.arena[slot]),)

    def write_state(self, slot: int, state: State) -> None:
        self.arena[slot] = tuple(state[0])
