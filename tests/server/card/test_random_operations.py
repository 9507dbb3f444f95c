"""Random operations on an engine on the card, and on one on the CPU: the same answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.server.card.conftest import RuntimeOn
from tests.server.card.results import CLOSE
from tests.server.tiny_cell import SYMBOLS

from cellwire.model_file.cell import Cell
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.batch.sampling import Bias, Sampling
from cellwire.server.engine.commands import CloseSession, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import CellwireError
from cellwire.server.runtime.device import CPU, Device
from cellwire.server.session import events
from cellwire.server.session.events import Event
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Accept,
    Append,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)
from cellwire.server.state.arena import Arena

SLOTS = 40  # too few for all sessions, so that some are parked
MOST = 4

symbols = st.integers(0, len(SYMBOLS) - 1)
texts = st.lists(symbols, min_size=1, max_size=20)
sessions = st.runner().flatmap(lambda machine: st.sampled_from(machine.sessions))
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    top_k=st.sampled_from([0, 0, 1, 5, 20]),
    top_p=st.sampled_from([1.0, 1.0, 0.7]),
    min_p=st.sampled_from([0.0, 0.0, 0.05]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.5]),
    logit_bias=st.lists(
        st.builds(Bias, symbols, st.sampled_from([-2.0, 3.0])),
        max_size=2,
        unique_by=lambda bias: bias.token,
    ).map(tuple),
    seed=st.none() | st.integers(0, 2**64 - 1),
)
ends = st.just(MAX_LENGTH_ONLY) | st.builds(
    CompletionEnd, st.frozensets(symbols, min_size=1), st.none() | st.frozensets(symbols)
)


def numbers_of(event: Event) -> list[float]:
    """Return the log-probabilities of an event."""
    match event:
        case events.Written():
            ranked = [log for position in event.alternatives for _, log in position]
            return [*event.log_probabilities, *ranked]
        case events.Appended():
            return [event.log_probability]
        case events.Scored():
            return [event.log_probability, *event.log_probabilities]
        case events.Completed():
            return [found.log_probability for found in event.completions]
        case _:
            return []


def facts_of(event: Event) -> list[object]:
    """Return all else that a client sees, but in how many pieces a text comes."""
    facts: list[object] = []
    match event:
        case events.Written():
            facts = [*event.tokens, *(token for p in event.alternatives for token, _ in p)]
        case events.Appended() | events.Rewound():
            facts = [event.operation_id, event.offset]
        case events.Scored():
            facts = [event.operation_id, event.scored_tokens]
        case events.Completed():
            facts = [event.operation_id, *((c.tokens, c.ended) for c in event.completions)]
        case events.Finished():
            facts = [event.operation_id, event.reason, event.offset]
        case events.Rejected() | events.Closed():
            facts = [event.operation_id, type(event.error)]
    return facts if isinstance(event, events.Written) else [type(event), *facts]


class TwoEngines(RuleBasedStateMachine):
    """An engine on the CPU and one on the card, which carry out the same."""

    def __init__(self, make: Callable[[], list[Engine]]) -> None:
        super().__init__()
        self.engines = make()
        self.sessions: list[str] = []
        self.next_id = 0

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def both(self, carry_out: Callable[[Engine], object]) -> None:
        for engine in self.engines:
            carry_out(engine)

    def submit(self, session: str, operation: Operation) -> None:
        self.both(lambda engine: engine.handle(SubmitOperation(session, operation)))

    @initialize(seed=st.integers(0, 99), tokens=texts)
    def open_first(self, seed: int, tokens: list[int]) -> None:
        self.open(seed, 20, tokens)

    @rule(seed=st.integers(0, 99), window=st.sampled_from([0, 5, 80]), tokens=texts)
    def open(self, seed: int, window: int, tokens: list[int]) -> None:
        name = f"session {self.fresh_id()}"
        self.sessions.append(name)
        self.both(lambda engine: engine.handle(OpenSession(name, 0, seed, window)))
        self.append(name, tokens)

    @rule(session=sessions, tokens=texts)
    def append(self, session: str, tokens: list[int]) -> None:
        self.submit(session, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(
        session=sessions,
        max_tokens=st.integers(1, 40),
        sampling=samplings,
        alternatives=st.sampled_from([0, 0, 3]),
    )
    def generate(
        self, session: str, max_tokens: int, sampling: Sampling, alternatives: int
    ) -> None:
        self.submit(
            session, Generate(self.fresh_id(), max_tokens, sampling, alternatives=alternatives)
        )

    @rule(
        session=sessions,
        width=st.integers(1, 5),
        completions=st.integers(1, 5),
        max_tokens=st.integers(1, 6),
        end=ends,
        penalty=st.sampled_from([0.0, 1.0]),
    )
    def complete(
        self,
        session: str,
        width: int,
        completions: int,
        max_tokens: int,
        end: CompletionEnd,
        penalty: float,
    ) -> None:
        count = min(width, completions)
        self.submit(session, Complete(self.fresh_id(), width, count, max_tokens, penalty, end))

    @rule(session=sessions, index=st.integers(0, 2), tokens=st.integers(0, 5))
    def accept(self, session: str, index: int, tokens: int) -> None:
        self.submit(session, Accept(self.fresh_id(), index, tokens))

    @rule(session=sessions, tokens=st.integers(0, 12))
    def rewind(self, session: str, tokens: int) -> None:
        self.submit(session, Rewind(self.fresh_id(), tokens=tokens))

    @rule(session=sessions, tokens=texts)
    def score(self, session: str, tokens: list[int]) -> None:
        array = np.array(tokens, np.uint32)
        self.submit(session, Score(self.fresh_id(), array, log_probabilities=True))

    @rule(session=sessions, seed=st.integers(0, 99))
    def fork(self, session: str, seed: int) -> None:
        name = f"session {self.fresh_id()}"
        self.submit(session, Fork(self.fresh_id(), name, seed))
        self.sessions.append(name)

    @rule()
    def carry_out(self) -> None:
        """Let both do all that was submitted, and compare."""
        ours, theirs = (self._answers(engine) for engine in self.engines)
        assert ours.keys() == theirs.keys()
        for session, (facts, logs) in ours.items():
            assert facts == theirs[session][0]
            assert logs == pytest.approx(theirs[session][1], abs=10 * CLOSE)

    @staticmethod
    def _answers(engine: Engine) -> dict[str, tuple[list[object], list[float]]]:
        answers: dict[str, tuple[list[object], list[float]]] = {}
        found = engine.step()
        while not engine.idle:
            found += engine.step()
        for event in found:
            facts, logs = answers.setdefault(event.session_id, ([], []))
            facts += facts_of(event)
            logs += numbers_of(event)
        return answers

    @rule(session=sessions)
    def move(self, session: str) -> None:
        """Export a session, and import it under another name."""
        self.carry_out()
        name = f"session {self.fresh_id()}"
        self.sessions.append(name)
        ours, theirs = (_error_of(engine, session, name) for engine in self.engines)
        assert ours == theirs

    @invariant()
    def engines_are_whole(self) -> None:
        self.both(lambda engine: engine.check_integrity())

    def teardown(self) -> None:
        self.carry_out()
        for session in self.sessions:
            command = CloseSession(session)
            self.both(lambda engine, command=command: engine.handle(command))  # type: ignore[misc]
        assert [engine.stats().reserved_slots for engine in self.engines] == [0, 0]


def _error_of(engine: Engine, session: str, name: str) -> type[CellwireError] | None:
    """Copy a session; return the reason if that is refused."""
    try:
        engine.restore(name, engine.snapshot(session))
    except CellwireError as error:
        return type(error)
    return None


@pytest.mark.slow
def test_an_engine_on_the_card_answers_as_one_on_the_cpu(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    runtimes = [runtime_on(cell, device, slots=Arena(SLOTS).slots) for device in (CPU, cuda)]

    def make() -> list[Engine]:
        limits = Limits(read_ahead_tokens=100_000)
        return [
            Engine(runtime, Arena(SLOTS), limits, max_sessions=9, max_batch=MOST)
            for runtime in runtimes
        ]

    # Hypothesis takes whatever makes a machine.
    machine: Any = partial(TwoEngines, make)
    examples = settings().max_examples // 10
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30)
    )
