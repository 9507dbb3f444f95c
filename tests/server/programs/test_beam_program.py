"""The beam program, against a plain search over the cell's own log-probabilities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.plain_session import beam_search
from tests.server.program_runs import batch_of, one_step
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.beam_step import BeamResult, beam_results
from cellwire.server.batch.beam_step import batch_of as searches_of
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.slots import RESERVED_SLOTS, ZERO
from cellwire.server.programs.beam_program import BeamProgram
from cellwire.server.runtime import beam_binding
from cellwire.server.runtime.beam_binding import BeamSize
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.beam import Beam
from cellwire.server.session.operations import Complete
from cellwire.server.state.arena import Arena

SLOTS = 200
ROWS = 32
TEXT_SLOT = RESERVED_SLOTS

Tokens = tuple[int, ...]


@pytest.fixture(scope="module")
def runtime(path: Path) -> Runtime:
    """Its TEXT_SLOT holds the state after one symbol."""
    runtime = Runtime(read_cell(path), SLOTS, ROWS)
    one_step(runtime, batch_of(1, token=[3], read_slot=[ZERO], write_slot=[TEXT_SLOT]))
    return runtime


class Plain:
    """The log-probabilities of continuations, from the same runtime's step program."""

    def __init__(self, runtime: Runtime, last_token: int) -> None:
        self.runtime = runtime
        self.last_token = last_token
        self.known: dict[Tokens, list[float]] = {}

    def log_probabilities(self, tokens: Tokens) -> list[float]:
        """Of each token after a continuation."""
        if tokens not in self.known:
            symbols = np.arange(len(SYMBOLS))
            read = [self.last_token, *tokens]
            forced = np.repeat([*tokens, 0], len(symbols)).reshape(len(read), -1)
            forced[-1] = symbols
            result = self.runtime.step(
                batch_of(
                    len(symbols),
                    token=np.full(len(symbols), self.last_token),
                    read_slot=np.full(len(symbols), TEXT_SLOT),
                    count=np.full(len(symbols), len(read)),
                    forced=forced,
                    uniform=np.zeros(forced.shape),
                )
            )
            self.known[tokens] = result.log_probability[-1].tolist()
        return self.known[tokens]

    def likeliest(self, tokens: Tokens) -> list[tuple[int, float]]:
        """All tokens after a continuation, the likeliest first."""
        logs = enumerate(self.log_probabilities(tokens))
        return sorted(logs, key=lambda one: (-one[1], one[0]))


def beams_of(completes: list[Complete]) -> list[Beam]:
    arena = Arena(SLOTS)
    arena.reserve(1)
    assert arena.allocate() == TEXT_SLOT
    return [Beam(arena, complete) for complete in completes]


def run(runtime: Runtime, beams: list[Beam], last_token: int, steps: int) -> list[BeamResult]:
    searches = [beam.input(last_token, TEXT_SLOT) for beam in beams]
    results = beam_results(runtime.step_beams(searches_of(searches, steps)))
    for beam, result in zip(beams, results, strict=True):
        beam.commit(result)
    return results


def steps_of(result: BeamResult) -> list[tuple[object, ...]]:
    """The result of each step, without the fillers among the ended hypotheses."""
    return [
        (
            step.parent,
            step.token,
            step.log_probability,
            [
                ended
                for ended in zip(
                    step.ended_parent, step.ended_token, step.ended_log_probability, strict=True
                )
                if ended[-1] > -math.inf
            ],
        )
        for step in result.steps
    ]


endings = st.builds(
    CompletionEnd,
    st.frozensets(st.integers(0, len(SYMBOLS) - 1), max_size=8),
    st.none() | st.frozensets(st.integers(0, len(SYMBOLS) - 1), min_size=10),
)


@settings(max_examples=50)
@given(
    width=st.integers(1, 5),
    ending=endings,
    last_token=st.integers(0, len(SYMBOLS) - 1),
    cut=st.integers(1, 7),
)
def test_it_finds_what_a_search_by_hand_finds(
    runtime: Runtime, width: int, ending: CompletionEnd, last_token: int, cut: int
) -> None:
    complete = Complete(1, width, width, 8, end=ending)
    (beam,) = beams_of([complete])
    for steps in (cut, 8 - cut):
        if not beam.done:
            run(runtime, [beam], last_token, steps)
    assert beam.results() == beam_search(complete, Plain(runtime, last_token).likeliest)


@settings(max_examples=30)
@given(
    width=st.integers(1, 6),
    tokens=st.lists(st.integers(0, len(SYMBOLS) - 1), min_size=2, max_size=7),
    some=st.lists(endings, min_size=7, max_size=7),
    cut=st.integers(1, 9),
)
def test_together_is_alone_and_cut_is_whole_bit_for_bit(
    runtime: Runtime, width: int, tokens: list[int], some: list[CompletionEnd], cut: int
) -> None:
    completes = [Complete(1, width, 1, 99, end=ending) for ending in some[: len(tokens)]]
    together = beams_of(completes)
    searches = [b.input(t, TEXT_SLOT) for b, t in zip(together, tokens, strict=True)]
    whole = beam_results(runtime.step_beams(searches_of(searches, 10)))
    states = [[runtime.read_state(slot) for slot in beam.held_slots()] for beam in together]
    for index, token in enumerate(tokens):
        (alone,) = beams_of([completes[index]])
        first = beam_results(runtime.step_beams(searches_of([alone.input(token, TEXT_SLOT)], cut)))[
            0
        ]
        assert steps_of(first) == steps_of(whole[index])[:cut]
        alone.commit(first)
        if alone.done or cut == 10 or len(alone._steps) < cut:
            continue
        then = beam_results(
            runtime.step_beams(searches_of([alone.input(token, TEXT_SLOT)], 10 - cut))
        )[0]
        assert steps_of(then) == steps_of(whole[index])[cut:]
        assert then.greedy == whole[index].greedy
        living = [row for row, log in enumerate(then.steps[-1].log_probability) if log > -math.inf]
        for row in living:
            assert runtime.read_state(alone.held_slots()[row]) == states[index][row]


def test_of_equally_likely_completions_the_lowest_tokens_come_first(tmp_path: Path) -> None:
    cell = lstm_cell(8)
    cell.constants[-1].raw_data = np.array(0, np.float32).tobytes()  # what logits are multiplied by
    runtime = Runtime(read_cell(write_cell(tmp_path / "undecided.onnx", cell)), SLOTS, ROWS)
    (beam,) = beams_of([Complete(1, 3, 3, 2)])
    run(runtime, [beam], 5, 2)
    assert [completion.tokens for completion in beam.results()] == [(0, 0), (0, 1), (0, 2)]


def test_a_nan_is_reported_of_the_search_it_is_in(tmp_path: Path) -> None:
    cell = lstm_cell(8)
    table = next(c for c in cell.constants if c.name == "table")
    weights = np.frombuffer(table.raw_data, np.float32).reshape(len(SYMBOLS), -1).copy()
    weights[4] = np.nan  # reading the fifth symbol spoils the state
    table.raw_data = weights.tobytes()
    runtime = Runtime(read_cell(write_cell(tmp_path / "breaks.onnx", cell)), SLOTS, ROWS)
    beams = beams_of([Complete(1, 2, 1, 1), Complete(1, 2, 1, 1)])
    searches = [beam.input(token, ZERO) for beam, token in zip(beams, (4, 5), strict=True)]
    assert [
        found.broken for found in beam_results(runtime.step_beams(searches_of(searches, 1)))
    ] == [
        True,
        False,
    ]


def test_the_arrays_of_many_searches_are_small_for_any_vocabulary() -> None:
    """Searches with one end share its masks: 64 bindings of them are a few megabytes."""
    size = BeamSize(BeamProgram(may_end=True), steps=16, beams=256, width=1, ends=1)
    arrays = [*beam_binding.input_arrays(size, 50_000).values()]
    arrays += beam_binding.output_arrays(size).values()
    assert sum(array.nbytes for array in arrays) < 400_000
