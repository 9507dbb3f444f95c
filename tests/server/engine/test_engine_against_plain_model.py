"""Random operations on several sessions, against a model that keeps only their texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from tests.server.overlapping_stepper import OverlappingStepper
from tests.server.plain_checks import CANCEL_ID, LIMITS
from tests.server.plain_machine import ATTACH_ID, PlainMachine
from tests.server.plain_stepper import SYMBOLS

from cellwire.model_file.vocabulary import TextEnd
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.commands import (
    AttachReader,
    CancelAll,
    CancelOperation,
    CloseSession,
    GrantTokens,
    HoldSession,
    ReadState,
)
from cellwire.server.errors import NotFound, OutOfRange, ResourceExhausted
from cellwire.server.session.events import (
    Attached,
    AttachFailed,
    Cancelled,
    FinishReason,
    Rejected,
)
from cellwire.server.session.operations import (
    Accept,
    Append,
    Classify,
    Close,
    Complete,
    Fork,
    Generate,
    Rewind,
    Score,
)

open_ids = st.runner().flatmap(lambda machine: st.sampled_from(machine.open_ids))
known = st.runner().flatmap(lambda machine: st.sampled_from(machine.known))
seeds = st.integers(0, 2**64 - 1)
windows = st.sampled_from([0, 1, 5, 20, 80])
symbols = st.integers(0, SYMBOLS - 1)
texts = st.lists(symbols, min_size=1, max_size=20)
few = st.integers(0, 9)

# Sessions should live long: one that is closed at once tests little.
rarely = precondition(lambda machine: machine.next_id % 5 == 0)


class EngineMachine(PlainMachine):
    @initialize(seed=seeds, window=windows, tokens=texts)
    def open_first(self, seed: int, window: int, tokens: list[int]) -> None:
        self.open_with(seed, window, tokens)

    @rule(max_steps=st.integers(1, MAX_STEPS))
    def change_max_steps(self, max_steps: int) -> None:
        self.max_steps = max_steps

    @rule(steps=st.integers(1, 40))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.take()

    # The client's commands.

    @rule(seed=seeds, window=windows, tokens=st.just([]) | texts)
    def open(self, seed: int, window: int, tokens: list[int]) -> None:
        self.open_with(seed, window, tokens)

    @rule(session_id=open_ids, tokens=texts)
    def append(self, session_id: str, tokens: list[int]) -> None:
        self.submit(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(
        session_id=open_ids,
        back=st.integers(0, 9),
        kept=st.integers(0, 9),
        tokens=st.lists(symbols, max_size=9),
        score=st.booleans(),
    )
    def read_the_end_again(
        self,
        session_id: str,
        back: int,
        kept: int,
        tokens: list[int],
        score: bool,  # noqa: FBT001  # drawn by name
    ) -> None:
        """Append, or score, a text whose beginning is the end of the session's text."""
        text = self.plain[session_id].text
        reread = tuple(text[max(0, len(text) - back) :])
        again, new_id = np.array([*reread[:kept], *tokens], np.uint32), self.fresh_id()
        if score:
            self.submit(session_id, Score(new_id, again, log_probabilities=True, reread=reread))
        else:
            text_end = TextEnd(f"the end after {new_id}", tuple(again[-kept:].tolist()))
            self.submit(session_id, Append(new_id, again, reread, text_end))

    @rule(
        session_id=open_ids,
        max_tokens=st.integers(1, 30),
        seed=st.none() | seeds,
        stop=st.lists(st.lists(symbols, min_size=1, max_size=2), max_size=2),
        alternatives=st.just(0) | st.integers(1, 3),  # none, or single steps
    )
    def generate(
        self,
        session_id: str,
        max_tokens: int,
        seed: int | None,
        stop: list[list[int]],
        alternatives: int,
    ) -> None:
        # The host ensures that stop strings fit into the rewind window.
        fitting = tuple(tuple(s) for s in stop if len(s) <= self.plain[session_id].window)
        sampling = Sampling(seed=seed)
        self.submit(
            session_id,
            Generate(
                self.fresh_id(),
                max_tokens,
                sampling,
                stop_strings=fitting,
                alternatives=alternatives,
            ),
        )

    @rule(
        session_id=open_ids,
        width=st.integers(1, 3),
        completions=st.integers(1, 3),
        max_tokens=st.integers(1, 5),
        penalty=st.sampled_from([0.0, 0.5, 1.0]),
        ending=st.builds(
            CompletionEnd,
            st.none() | st.frozensets(few, max_size=3),
            st.none() | st.frozensets(few, max_size=6),
        ),
        partial=st.booleans(),
    )
    def complete(
        self,
        session_id: str,
        width: int,
        completions: int,
        max_tokens: int,
        penalty: float,
        ending: CompletionEnd,
        partial: bool,  # noqa: FBT001  # drawn by name
    ) -> None:
        self.submit(
            session_id,
            Complete(
                self.fresh_id(),
                width,
                min(completions, width),
                max_tokens,
                penalty,
                ending,
                partial,
            ),
        )

    @rule(session_id=open_ids, index=st.integers(0, 2), tokens=st.integers(0, 5))
    def accept(self, session_id: str, index: int, tokens: int) -> None:
        self.submit(session_id, Accept(self.fresh_id(), index, tokens))

    @rule(session_id=open_ids, tokens=st.integers(0, 12))
    def rewind(self, session_id: str, tokens: int) -> None:
        self.submit(session_id, Rewind(self.fresh_id(), tokens=tokens))

    @rule(session_id=open_ids, offset=st.integers(0, 30))
    def rewind_to(self, session_id: str, offset: int) -> None:
        self.submit(session_id, Rewind(self.fresh_id(), offset=offset))

    @rule(session_id=open_ids, tokens=texts, log_probabilities=st.booleans())
    def score(
        self,
        session_id: str,
        tokens: list[int],
        log_probabilities: bool,  # noqa: FBT001  # drawn by name
    ) -> None:
        tokens_array = np.array(tokens, np.uint32)
        self.submit(session_id, Score(self.fresh_id(), tokens_array, log_probabilities))

    @rule(session_id=open_ids)
    def classify(self, session_id: str) -> None:
        self.submit(session_id, Classify(self.fresh_id()))

    @rule(session_id=open_ids, seed=seeds)
    def fork_in_order(self, session_id: str, seed: int) -> None:
        new_id = self.copy_of(session_id, seed)
        self.submit(session_id, Fork(self.fresh_id(), new_id, seed, snapshot=True))

    @rule(session_id=open_ids, seed=seeds)
    def fork_at_once(self, session_id: str, seed: int) -> None:
        new_id = self.copy_of(session_id, seed)
        try:
            self.engine.fork(session_id, new_id, seed, snapshot=True)
        except NotFound:
            assert self.plain[session_id].closed
        except ResourceExhausted:
            self.check_rest()
        else:
            self.check_rest()
            self.check_copy(session_id, new_id, seed)

    @rule(session_id=open_ids)
    def export_and_import(self, session_id: str) -> None:
        seed = self.plain[session_id].seed
        new_id = self.copy_of(session_id, seed)
        try:
            snapshot = self.engine.snapshot(session_id)
            assert snapshot.consistent
            self.engine.restore(new_id, snapshot)
        except NotFound:
            assert self.plain[session_id].closed
        except ResourceExhausted:
            self.check_rest()
        else:
            self.check_rest()
            self.check_copy(session_id, new_id, seed)

    @rule(session_id=open_ids)
    def describe(self, session_id: str) -> None:
        if not self.plain[session_id].closed:
            self.engine.describe(session_id)
            assert session_id not in self.in_flight
            self.check_rest()

    @rule(session_id=open_ids)
    def read_state(self, session_id: str) -> None:
        """The state is read at once, or after the run in flight or the append."""
        plain, changed = self.plain[session_id], self.changed.sessions.get(session_id)
        if changed is None:  # a copy that is not made yet
            return
        before = len(changed.states)
        appends = isinstance(next(iter(plain.operations), None), Append | Accept)
        self.engine.handle(ReadState(session_id))
        self.take()
        if not plain.closed and not appends and session_id not in self.in_flight:
            assert len(changed.states) == before + 1

    @rarely
    @rule(session_id=known, keep=st.booleans())
    def close_in_order(self, session_id: str, keep: bool) -> None:  # noqa: FBT001
        self.submit(session_id, Close(self.fresh_id(), keep))

    @rarely
    @rule(session_id=open_ids)
    def close_at_once(self, session_id: str) -> None:
        self.engine.handle(CloseSession(session_id))
        self.take()
        assert self.plain[session_id].closed

    @rarely
    @rule(session_id=known)
    def disconnect_and_cancel(self, session_id: str) -> None:
        self.engine.handle(CancelAll(session_id))
        self.take()
        assert all(isinstance(o, Close) for o in self.plain[session_id].operations)

    @rule(session_id=open_ids)
    def disconnect_and_hold(self, session_id: str) -> None:
        self.engine.handle(HoldSession(session_id))
        if session_id in self.in_flight:  # it is held after the run
            self.take()
        self.plain[session_id].held = True
        self.take()

    @rule(session_id=open_ids, back=st.none() | st.integers(-1, 10))
    def attach(self, session_id: str, back: int | None) -> None:
        plain = self.plain[session_id]
        offset = None if back is None else len(plain.text) - back
        before = len(plain.text)
        self.engine.handle(AttachReader(session_id, ATTACH_ID, offset))
        events = [e for e in self.take() if isinstance(e, Attached | AttachFailed)]
        shortest = min(before, len(plain.text))
        if isinstance(events[0], AttachFailed):
            assert isinstance(events[0].error, NotFound if plain.closed else OutOfRange)
            assert plain.closed or (offset is not None and (offset < 0 or offset > shortest))

    @rule(session_id=open_ids, tokens=st.integers(1, 8))
    def grant(self, session_id: str, tokens: int) -> None:
        self.plain[session_id].granted += tokens
        self.engine.handle(GrantTokens(session_id, tokens))
        self.take()

    @rule(session_id=open_ids, index=st.integers(0, 3))
    def cancel(self, session_id: str, index: int) -> None:
        plain = self.plain[session_id]
        found = index < len(plain.operations)
        target = (plain.operations[index].id if found else None) or 10_000
        self.engine.handle(CancelOperation(session_id, CANCEL_ID, target))
        in_flight = session_id in self.in_flight
        events = self.take()
        if plain.closed and not found:
            return
        answer = next(e for e in events if getattr(e, "operation_id", 0) == CANCEL_ID)
        if found and in_flight:  # the run may have ended it first
            answered = [e for e in events if getattr(e, "operation_id", 0) == target]
            found = any(getattr(e, "reason", 0) is FinishReason.CANCELLED for e in answered)
            assert answered or found
        if found:
            assert isinstance(answer, Cancelled)
        else:
            assert isinstance(answer, Rejected)
            assert isinstance(answer.error, NotFound)


class OverlappingEngineMachine(EngineMachine):
    """The same with a run in flight between two steps: small ones, of sessions that are busy."""

    make_stepper = OverlappingStepper
    max_batch = 2

    @initialize(seed=seeds)
    def open_more(self, seed: int) -> None:
        for number in range(4):
            self.open_with((seed + number) % 2**64, 5, [number])

    @rule(max_steps=st.integers(1, 3))
    def change_max_steps(self, max_steps: int) -> None:
        self.max_steps = max_steps

    @rule(steps=st.integers(1, 5), alternatives=st.integers(0, 1), width=st.integers(1, 2))
    def keep_all_busy(self, steps: int, alternatives: int, width: int) -> None:
        for index, session_id in enumerate(self.open_ids):
            operation: Generate | Complete = Generate(
                self.fresh_id(), 30, Sampling(), alternatives=alternatives * (index % 2)
            )
            if index % 5 == 4:  # one in five
                operation = Complete(operation.id, width, 1, 9, partial_results=True)
            if len(self.plain[session_id].operations) < LIMITS.waiting_operations:
                self.engine.handle(GrantTokens(session_id, 30))
                self.plain[session_id].granted += 30
                self.post(session_id, operation)
        self.step(steps)


# More examples than elsewhere: most faults take several operations to show.
MANY = settings(stateful_step_count=50, max_examples=4 * settings().max_examples)
EngineMachine.TestCase.settings = OverlappingEngineMachine.TestCase.settings = MANY
# Coverage would double its time, and adds nothing that the other tests do not cover.
TestEngine = pytest.mark.no_cover(pytest.mark.slow(EngineMachine.TestCase))
TestOverlap = pytest.mark.no_cover(pytest.mark.slow(OverlappingEngineMachine.TestCase))
