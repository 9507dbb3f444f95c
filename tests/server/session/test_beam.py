"""Beam search, against enumeration of all continuations and against greedy choice."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.server.plain_session import log_probability
from tests.server.plain_stepper import SYMBOLS, PlainStepper, Text, likeliest_after

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.limits import MAX_BEAM_WIDTH
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import ResourceExhausted
from cellwire.server.session.beam import Beam
from cellwire.server.session.events import Completed, Completion, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Generate
from cellwire.server.state.arena import Arena

texts = st.lists(st.integers(0, SYMBOLS - 1), min_size=1, max_size=6).map(tuple)
endings = st.builds(
    CompletionEnd,
    st.frozensets(st.integers(0, SYMBOLS - 1), max_size=3),
    st.none() | st.frozensets(st.integers(0, SYMBOLS - 1)),
)
penalties = st.floats(0, 2)


def engine_with(text: Text, slots: int = 1_000, stepper: PlainStepper | None = None) -> Engine:
    engine = Engine(stepper or PlainStepper(), Arena(slots), Limits(), max_sessions=9, max_batch=8)
    engine.handle(OpenSession("s", 0, 1, 4))
    engine.handle(SubmitOperation("s", Append(1, np.array(text, np.uint32))))
    return engine


def events_of(engine: Engine) -> list[Event]:
    events = engine.step()
    while not engine.idle:
        events += engine.step()
        engine.check_integrity()
    return events


def completed(
    text: Text, complete: Complete, stepper: PlainStepper | None = None
) -> tuple[Completion, ...]:
    engine = engine_with(text, stepper=stepper)
    engine.handle(SubmitOperation("s", complete))
    event = events_of(engine)[-1]
    assert isinstance(event, Completed)
    assert event.offset == len(text)
    return event.completions


def rank(completion: Completion, penalty: float) -> float:
    return completion.log_probability / math.pow(len(completion.tokens), penalty)


def all_completions(text: Text, complete: Complete) -> list[Completion]:
    """Return every possible completion, the best first."""
    found = {}
    for tokens in product(range(SYMBOLS), repeat=complete.max_tokens):
        ends = [
            length
            for length in range(1, len(tokens) + 1)
            if complete.end.ends(tokens[length - 2] if length > 1 else None, tokens[length - 1])
        ]
        short = tokens[: ends[0]] if ends else tokens
        at_end = bool(ends) or complete.end.tokens is None
        found[short] = Completion(short, log_probability(text, short), at_end)
    return sorted(found.values(), key=lambda c: (-rank(c, complete.length_penalty), c.tokens))


@given(text=texts, length=st.integers(1, 3), penalty=penalties, ending=endings)
def test_a_wide_enough_beam_finds_the_best_of_all_continuations(
    text: Text, length: int, penalty: float, ending: CompletionEnd
) -> None:
    complete = Complete(2, 49, 10, length, penalty, ending)
    assert list(completed(text, complete)) == all_completions(text, complete)[:10]


class FillingStepper(PlainStepper):
    """Leaves undefined what the contract leaves undefined: where no hypothesis has ended."""

    def step_beams(self, batch: BeamBatch) -> BeamBatchResult:
        result = super().step_beams(batch)
        assert result.ended
        nothing = result.ended.log_probability == -np.inf
        result.ended.parent[nothing] = 1 << 40
        result.ended.token[nothing] = SYMBOLS
        return result


@given(text=texts, width=st.integers(1, 9), length=st.integers(1, 6), ending=endings)
def test_nothing_is_read_of_hypotheses_that_are_dead(
    text: Text, width: int, length: int, ending: CompletionEnd
) -> None:
    complete = Complete(2, width, width, length, end=ending)
    assert completed(text, complete, FillingStepper()) == completed(text, complete)


@given(
    text=texts,
    width=st.integers(1, 4),
    length=st.integers(1, 12),
    penalty=penalties,
    ending=endings,
)
@example(
    text=(4, 6, 1, 4, 6, 4), width=2, length=10, penalty=0, ending=CompletionEnd()
)  # likelier hypotheses would displace the greedy one
def test_the_best_completion_never_ranks_below_the_greedy_one(
    text: Text, width: int, length: int, penalty: float, ending: CompletionEnd
) -> None:
    tokens: Text = ()
    while len(tokens) < length:
        before = tokens[-1] if tokens else None
        tokens = (*tokens, likeliest_after((*text, *tokens))[0][0])
        if ending.ends(before, tokens[-1]):
            break
    greedy = Completion(tokens, log_probability(text, tokens), ended=True)
    best = completed(text, Complete(2, width, 1, length, penalty, ending))[0]
    assert rank(best, penalty) >= rank(greedy, penalty)


@pytest.mark.parametrize("partial", [False, True])
def test_partial_results_are_reported_on_request(partial: bool) -> None:  # noqa: FBT001
    engine = engine_with((1, 2))
    engine.handle(SubmitOperation("s", Complete(2, 3, 2, 3 * MAX_STEPS, partial_results=partial)))
    events = [event for event in events_of(engine) if isinstance(event, Completed)]
    assert [event.partial for event in events] == [True] * (len(events) - 1) + [False]
    assert (len(events) > 1) == partial
    lengths = [max(len(c.tokens) for c in event.completions) for event in events]
    assert lengths == sorted(lengths)


def test_searches_and_rows_take_turns() -> None:
    engine = engine_with((1, 2))
    engine.handle(OpenSession("other", 0, 2, 4))
    engine.handle(SubmitOperation("other", Append(1, np.array([3], np.uint32))))
    engine.step()
    engine.handle(SubmitOperation("other", Generate(2, 1_000, Sampling())))
    engine.handle(SubmitOperation("s", Complete(2, 3, 1, 3 * MAX_STEPS)))
    engine.step()
    turns = [[type(event) for event in engine.step()] for _ in range(6)]
    assert turns == [[Written], [], [Written], [Completed], [Written], [Written]]


def test_searches_of_one_width_run_together_until_the_shortest_ends() -> None:
    stepper = PlainStepper()
    engine = engine_with((1, 2), stepper=stepper)
    lengths = {"s": 9, "second": 4, "third": 2}
    for session in ("second", "third"):
        engine.handle(OpenSession(session, 0, 1, 4))
        engine.handle(SubmitOperation(session, Append(1, np.array([1, 2], np.uint32))))
    events_of(engine)
    for session, length in lengths.items():
        engine.handle(SubmitOperation(session, Complete(2, 1, 1, length)))
    alone = {length: completed((1, 2), Complete(2, 1, 1, length)) for length in lengths.values()}
    together = {e.session_id: e for e in events_of(engine) if isinstance(e, Completed)}
    assert {s: e.completions for s, e in together.items()} == {
        session: alone[length] for session, length in lengths.items()
    }
    assert stepper.searches == [(3, 2), (2, 2), (1, 5)]


def test_a_long_search_is_cut_into_runs() -> None:
    stepper = PlainStepper()
    engine = engine_with((1, 2), stepper=stepper)
    engine.handle(SubmitOperation("s", Complete(2, MAX_BEAM_WIDTH, 1, 9)))
    events_of(engine)
    assert stepper.searches == [(1, 4), (1, 4), (1, 1)]


def test_a_slow_search_is_cut_shorter() -> None:
    stepper = PlainStepper()
    engine = engine_with((1, 2), stepper=stepper)
    engine.handle(SubmitOperation("s", Complete(2, 2, 1, 9)))
    while not engine.idle:
        engine.step(4)
    assert stepper.searches == [(1, 4), (1, 4), (1, 1)]
    assert engine.stats().beam_steps == 9


def test_a_runs_steps_are_those_that_the_runtime_supports() -> None:
    class FewSteps(PlainStepper):
        def supported_steps(self, steps: int) -> int:
            return 4 if steps >= 4 else 1

    stepper = FewSteps()
    found = completed((1, 2), Complete(2, 2, 1, 6), stepper)
    assert stepper.searches == [(1, 4), (1, 1), (1, 1)]
    assert found == completed((1, 2), Complete(2, 2, 1, 6))


def test_a_beam_wider_than_a_batch_runs_alone() -> None:
    best = completed((1, 2), Complete(2, MAX_BEAM_WIDTH, 1, 4))[0]
    assert best == all_completions((1, 2), Complete(2, 1, 1, 4))[0]


def test_a_beam_holds_a_slot_for_each_hypothesis() -> None:
    arena = Arena(100)
    beam = Beam(arena, Complete(1, 5, 1, 3))
    assert arena.reserved == len(set(beam.held_slots())) == 5
    beam.release()
    arena.check_integrity([])


def test_a_complete_without_free_slots_is_rejected_and_its_session_lives() -> None:
    engine = engine_with((1, 2), slots=8)  # of which the session reserves four
    engine.handle(SubmitOperation("s", Complete(2, 5, 1, 4)))
    event = events_of(engine)[-1]
    assert isinstance(event, Rejected)
    assert isinstance(event.error, ResourceExhausted)
    engine.handle(SubmitOperation("s", Generate(3, 4, Sampling())))
    written, _ = events_of(engine)
    assert isinstance(written, Written)
    assert len(written.tokens) == 4
