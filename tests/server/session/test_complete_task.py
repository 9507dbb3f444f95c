"""Complete, beyond what the beam finds: what is told on the way, and a model that breaks."""

from __future__ import annotations

from itertools import pairwise

from tests.server.one_session import append, carry_out, engine_with, only
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.errors import StepFailed
from cellwire.server.session.events import Closed, Completed
from cellwire.server.session.operations import Complete


def test_the_best_so_far_is_told_once() -> None:
    engine = engine_with()
    append(engine, 1, 2)
    for number in range(20):
        complete = Complete(
            2, 3, 1, 12, 1.0, CompletionEnd(frozenset(range(4))), partial_results=True
        )
        told = [
            event.completions
            for event in carry_out(engine, complete)
            if isinstance(event, Completed) and event.partial
        ]
        assert all(one != following for one, following in pairwise(told))
        append(engine, number % 7)


def test_a_completion_does_not_end_before_what_must_come_first() -> None:
    ending = CompletionEnd(frozenset([1]), after=frozenset([2]))
    assert not ending.ends(None, 1)
    assert not ending.ends(3, 1)
    assert ending.ends(2, 1)
    assert CompletionEnd(frozenset([1])).ends(None, 1)


class SearchBreaks(PlainStepper):
    """What comes of the cell is no number."""

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        result = super().step_beams(batch)
        result.broken[:] = True
        return result


def test_a_search_that_breaks_ends_its_session() -> None:
    engine = engine_with(stepper=SearchBreaks())
    append(engine, 1)
    closed = only(Closed, carry_out(engine, Complete(2, 4, 1, 5)))
    assert isinstance(closed.error, StepFailed)
