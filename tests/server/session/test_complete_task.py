"""Complete: partial results, ends, replay before a search, and a model that breaks."""

from __future__ import annotations

from itertools import pairwise

from tests.server.one_session import append, carry_out, engine_with, only
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.errors import StepFailed
from cellwire.server.session.events import Closed, Completed
from cellwire.server.session.operations import Complete


def test_equal_partial_results_are_reported_once() -> None:
    engine = engine_with()
    append(engine, 1, 2)
    for number in range(20):
        complete = Complete(
            2, 3, 1, 12, 1.0, CompletionEnd(frozenset(range(4))), partial_results=True
        )
        partial = [
            event.completions
            for event in carry_out(engine, complete)
            if isinstance(event, Completed) and event.partial
        ]
        assert all(earlier != later for earlier, later in pairwise(partial))
        append(engine, number % 7)


def test_an_end_counts_only_after_the_tokens_it_must_follow() -> None:
    ending = CompletionEnd(frozenset([1]), after=frozenset([2]))
    assert not ending.ends(None, 1)
    assert not ending.ends(3, 1)
    assert ending.ends(2, 1)
    assert CompletionEnd(frozenset([1])).ends(None, 1)


class BrokenSearch(PlainStepper):
    """The results of every search are not numbers."""

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        result = super().step_beams(batch)
        result.broken[:] = True
        return result


def test_a_broken_search_closes_its_session() -> None:
    engine = engine_with(stepper=BrokenSearch())
    append(engine, 1)
    closed = only(Closed, carry_out(engine, Complete(2, 4, 1, 5)))
    assert isinstance(closed.error, StepFailed)
