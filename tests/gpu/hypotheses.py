"""Searches as the texts that they found, and how those of two devices compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult, beam_results
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO

Text = tuple[int, ...]
Logs = dict[Text, float]
DEAD = -np.inf


class Found(NamedTuple):
    """One step of a search: its hypotheses in their order, and those that ended, the best first."""

    alive: Logs
    ended: Logs
    greedy: Text | None  # known after the last step only


def found(batch: BeamBatch, result: BeamBatchResult) -> list[list[Found]]:
    """Return the steps of each search."""
    searches = []
    for result_of_beam, log_probability in zip(
        beam_results(result), batch.log_probability, strict=True
    ):
        # What comes of a row that was dead from the start must be dead.
        texts: list[Text | None] = [() if log > DEAD else None for log in log_probability]
        steps = []
        for step in result_of_beam.steps:
            ended = _logs(texts, step.ended_parent, step.ended_token, step.ended_log_probability)
            alive = _logs(texts, step.parent, step.token, step.log_probability)
            texts = _texts(texts, step.parent, step.token, step.log_probability)
            steps.append(Found(alive, ended, None))
        steps[-1] = steps[-1]._replace(greedy=texts[result_of_beam.greedy])
        searches.append(steps)
    return searches


def _texts(
    texts: Sequence[Text | None],
    parent: Sequence[int],
    token: Sequence[int],
    log_probability: Sequence[float],
) -> list[Text | None]:
    """Return the text of each row; None for one that is dead."""
    rows: list[Text | None] = []
    for place, symbol, log in zip(parent, token, log_probability, strict=True):
        before = texts[place] if log > DEAD else None
        assert log == DEAD or before is not None, "a dead hypothesis has gone on"
        rows.append(None if before is None else (*before, symbol))
    return rows


def _logs(
    texts: Sequence[Text | None],
    parent: Sequence[int],
    token: Sequence[int],
    log_probability: Sequence[float],
) -> Logs:
    rows = _texts(texts, parent, token, log_probability)
    logs = {row: log for row, log in zip(rows, log_probability, strict=True) if row is not None}
    assert len(logs) == sum(row is not None for row in rows), "a text was found twice"
    return logs


def assert_same_texts(
    expected: Mapping[Text, float], found: Mapping[Text, float], within: float
) -> None:
    """Compare two sets of texts; those at the lower edge may be others that are as likely."""
    assert len(found) == len(expected)
    for text in expected.keys() & found.keys():
        assert abs(expected[text] - found[text]) <= within
    edge = min(expected.values(), default=DEAD)
    for text in expected.keys() ^ found.keys():
        log = expected.get(text, found.get(text, DEAD))
        assert abs(log - edge) <= 2 * within


def assert_same_searches(
    expected: list[list[Found]], found: list[list[Found]], within: float
) -> None:
    """Compare searches: their hypotheses after each step, and those that ended."""
    for theirs, ours in zip(expected, found, strict=True):
        for step, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            assert_same_texts(their.alive, our.alive, within * (step + 1))
            assert_same_texts(their.ended, our.ended, within * (step + 1))
            logs = list(our.ended.values())
            assert all(better >= worse for better, worse in pairwise(logs))
            assert list(our.alive) == sorted(our.alive), "rows are in the order of their texts"
        assert theirs[-1].greedy == ours[-1].greedy


def first_steps(steps: int, width: int, *endings: CompletionEnd, may_end: bool = True) -> BeamBatch:
    """A search for each ending, from the zero state: one hypothesis is alive."""
    beams = len(endings)
    shape = beams, width
    alone = np.where(np.arange(width) == 0, 0, DEAD)
    return BeamBatch(
        steps=steps,
        token=np.repeat(3 + np.arange(beams), width).reshape(shape),
        read_slot=np.full(shape, ZERO),
        write_slot=RESERVED_SLOTS + np.arange(beams * width).reshape(shape),
        log_probability=np.tile(alone.astype(np.float64), (beams, 1)),
        greedy=np.zeros(beams, np.int64),
        may_end=np.full(shape, may_end),
        endings=endings,
    )
