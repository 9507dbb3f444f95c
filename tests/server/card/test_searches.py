"""Searches on the card find what they find on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.card.conftest import RuntimeOn
from tests.server.card.results import CLOSE, states
from tests.server.tiny_cell import SYMBOLS

from cellwire.model_file.cell import Cell
from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult, EndedHypotheses
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.slots import ZERO
from cellwire.server.runtime.device import CPU, Device

FEW = CompletionEnd(frozenset({1, 2}))
MOST_SYMBOLS = CompletionEnd(frozenset(range(3, len(SYMBOLS))))
AFTER_SOME = CompletionEnd(frozenset(range(20)), after=frozenset({25, 26, 27}))


def first_batch(width: int, steps: int, *endings: CompletionEnd) -> BeamBatch:
    """Searches that begin: one live hypothesis each."""
    beams = len(endings)
    log_probability = np.full((beams, width), -np.inf)
    log_probability[:, 0] = 0
    return BeamBatch(
        steps=steps,
        token=np.repeat(3 + np.arange(beams)[:, None], width, axis=1),
        read_slot=np.full((beams, width), ZERO),
        write_slot=2 + np.arange(beams * width).reshape(beams, width),
        log_probability=log_probability,
        greedy=np.zeros(beams, np.int64),
        may_end=np.array([[ending.may_follow(None)] * width for ending in endings]),
        endings=endings,
    )


Found = list[tuple[tuple[int, ...], float]]
"""Texts with their log-probabilities, in the order of their rows."""


def texts_of(result: BeamBatchResult, beam: int) -> tuple[list[Found], list[Found]]:
    """Return what is alive after each step of a search, and what ended with it."""
    width = result.token.shape[2]
    texts: list[tuple[int, ...]] = [()] * width
    alive, ended = list[Found](), list[Found]()
    for step in range(len(result.token)):
        if result.ended is not None:
            ended.append(_alive(texts, result.ended, step, beam))
        alive.append(_alive(texts, result, step, beam))
        parents, tokens = result.parent[step, beam].tolist(), result.token[step, beam].tolist()
        texts = [(*texts[parent], token) for parent, token in zip(parents, tokens, strict=True)]
    return alive, ended


def _alive(
    texts: list[tuple[int, ...]], found: BeamBatchResult | EndedHypotheses, step: int, beam: int
) -> Found:
    columns = found.parent, found.token, found.log_probability
    rows = zip(*(column[step, beam].tolist() for column in columns), strict=True)
    return [((*texts[parent], token), log) for parent, token, log in rows if log > -np.inf]


def check_same(found: BeamBatchResult, expected: BeamBatchResult) -> None:
    """Check all that is alive; where rows are dead, and what they hold, is nobody's business."""
    for beam in range(len(found.greedy)):
        for ours, theirs in zip(texts_of(found, beam), texts_of(expected, beam), strict=True):
            for some, others in zip(ours, theirs, strict=True):
                assert [text for text, _ in some] == [text for text, _ in others]
                logs = [[log for _, log in side] for side in (some, others)]
                assert logs[0] == pytest.approx(logs[1], abs=CLOSE)
    assert (found.broken == expected.broken).all()


def last_rows(batch: BeamBatch, result: BeamBatchResult, beam: int) -> tuple[list[int], list[bool]]:
    """Return the slots of what is alive at the end, and which of it is greedy."""
    alive = np.flatnonzero(np.isfinite(result.log_probability[-1, beam]))
    return batch.write_slot[beam][alive].tolist(), (alive == result.greedy[beam]).tolist()


def check_search(
    runtime_on: RuntimeOn, cell: Cell, cuda: Device, batch: BeamBatch
) -> BeamBatchResult:
    here, there = (runtime_on(cell, device, slots=200) for device in (CPU, cuda))
    expected, found = here.step_beams(batch), there.step_beams(batch)
    check_same(found, expected)
    for beam in range(len(found.greedy)):
        (ours, greedy), (theirs, others) = (
            last_rows(batch, result, beam) for result in (found, expected)
        )
        assert greedy == others
        for slot, other in zip(ours, theirs, strict=True):
            apart = states(there, range(slot, slot + 1)) - states(here, range(other, other + 1))
            assert np.abs(apart).max() <= CLOSE
    return found


@pytest.mark.parametrize("steps", [1, 4, 6, 16])
def test_searches_to_a_length(cell: Cell, cuda: Device, runtime_on: RuntimeOn, steps: int) -> None:
    batch = first_batch(3, steps, MAX_LENGTH_ONLY, MAX_LENGTH_ONLY)
    check_search(runtime_on, cell, cuda, batch)


@pytest.mark.parametrize(
    ("width", "steps"),
    [
        (1, 4),
        (8, 4),
        (3, 4),
        (9, 2),  # more than the first kernel takes
    ],
)
@pytest.mark.parametrize("ending", [FEW, MOST_SYMBOLS, AFTER_SOME])
def test_searches_that_may_end(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, width: int, steps: int, ending: CompletionEnd
) -> None:
    batch = first_batch(width, steps, ending, MAX_LENGTH_ONLY)
    check_search(runtime_on, cell, cuda, batch)


@pytest.mark.parametrize("ending", [MAX_LENGTH_ONLY, MOST_SYMBOLS])
def test_a_search_wider_than_its_first_step_has_extensions(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, ending: CompletionEnd
) -> None:
    """Width 64 over 32 symbols; or most symbols end the word, so that three live on."""
    found = check_search(runtime_on, cell, cuda, first_batch(64, 2, ending))
    assert np.isfinite(found.log_probability[0]).sum() < 64
