"""Random operations on several sessions, against a model that knows nothing but each one's text."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.server.plain_stepper import SYMBOLS, PlainStepper, log_probability_of, token_after

from cellwire.server.arena import Arena
from cellwire.server.engine import Engine
from cellwire.server.errors import Full, NotFound, WrongState
from cellwire.server.events import (
    Appended,
    Cancelled,
    Closed,
    Event,
    Finished,
    FinishReason,
    Opened,
    Rejected,
    Written,
)
from cellwire.server.operations import Append, Close, Generate
from cellwire.server.sampling import Sampling, generator_key, uniforms
from cellwire.server.session import Limits

CAPACITY = 3
CANCEL_ID = 9_999
LIMITS = Limits(waiting_operations=4, waiting_chars=20, read_ahead_chars=5)


@dataclass
class PlainSession:
    """What must be true of a session, from its text alone."""

    seed: int
    text: list[int] = field(default_factory=list)
    operations: deque[Append | Generate | Close] = field(default_factory=deque)
    written: int = 0
    granted: int = LIMITS.read_ahead_chars
    closed: bool = False

    def uniform(self) -> float:
        key = np.array([generator_key(self.seed)], np.uint64)
        return float(uniforms(key, np.array([len(self.text)], np.uint64))[0])

    def check_written(self, event: Written) -> None:
        assert event.offset == len(self.text)
        assert event.operation is self.operations[0]
        assert event.token == token_after(tuple(self.text), self.uniform())
        assert event.log_probability == log_probability_of(tuple(self.text), event.token)
        self.text.append(event.token)
        self.written += 1
        assert self.written <= self.granted, "wrote ahead of the reader"

    def check_appended(self, event: Appended) -> None:
        append = self.operations.popleft()
        assert isinstance(append, Append)
        expected = 0.0
        for token in append.tokens.tolist():
            if self.text:
                expected += log_probability_of(tuple(self.text), token)
            self.text.append(token)
        assert event.offset == len(self.text)
        assert event.log_probability == expected


class EngineMachine(RuleBasedStateMachine):
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.stepper = PlainStepper()
        self.engine = Engine(self.stepper, Arena(CAPACITY), max_batch=2, limits=LIMITS)
        self.plain: dict[str, PlainSession] = {}
        self.next_id = 0

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    @rule(target=sessions, seed=st.integers(0, 2**64 - 1))
    def open(self, seed: int) -> str:
        session_id = f"session {self.fresh_id()}"
        full = sum(not plain.closed for plain in self.plain.values()) >= CAPACITY
        self.plain[session_id] = PlainSession(seed)
        self.engine.open(session_id, 0, seed)
        event = next(event for event in self.take() if event.session_id == session_id)
        if full:
            assert isinstance(event, Closed)
            assert isinstance(event.error, Full)
        else:
            assert isinstance(event, Opened)
        return session_id

    @rule(session_id=sessions, tokens=st.lists(st.integers(0, SYMBOLS - 1), min_size=1, max_size=6))
    def append(self, session_id: str, tokens: list[int]) -> None:
        self.submit(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(session_id=sessions, max_chars=st.integers(1, 9))
    def generate(self, session_id: str, max_chars: int) -> None:
        self.submit(session_id, Generate(self.fresh_id(), max_chars, Sampling()))

    @rule(session_id=sessions)
    def close_in_order(self, session_id: str) -> None:
        self.submit(session_id, Close(self.fresh_id()))

    @rule(session_id=consumes(sessions))
    def vanish(self, session_id: str) -> None:
        self.engine.close(session_id)
        self.take()
        self.plain[session_id].closed = True

    @rule(session_id=sessions, chars=st.integers(1, 8))
    def grant(self, session_id: str, chars: int) -> None:
        if not self.plain[session_id].closed:
            self.plain[session_id].granted += chars
        self.engine.grant(session_id, chars)
        self.take()

    @rule(session_id=sessions, place=st.integers(0, 3))
    def cancel(self, session_id: str, place: int) -> None:
        plain = self.plain[session_id]
        known = place < len(plain.operations)
        target = (plain.operations[place].id if known else None) or 10_000
        self.engine.cancel(session_id, CANCEL_ID, target)
        events = self.take()
        if plain.closed and not known:
            return
        answer = next(e for e in events if e.operation_id == CANCEL_ID)
        if known:
            assert isinstance(answer, Cancelled)
        else:
            assert isinstance(answer, Rejected)
            assert isinstance(answer.error, NotFound)

    @rule(steps=st.integers(1, 12))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.take()

    def submit(self, session_id: str, operation: Append | Generate | Close) -> None:
        plain = self.plain[session_id]
        if not plain.closed:
            plain.operations.append(operation)
        self.engine.submit(session_id, operation)
        self.take()

    def take(self) -> list[Event]:
        """Step once, and check every event against the plain sessions."""
        events = self.engine.step()
        for event in events:
            self.check(event)
        return events

    def check(self, event: Event) -> None:
        plain = self.plain[event.session_id]
        match event:
            case Written():
                plain.check_written(event)
            case Appended():
                plain.check_appended(event)
            case Finished(reason=FinishReason.CANCELLED):
                self.check_cancelled(plain, event)
            case Finished():
                generate = plain.operations.popleft()
                assert isinstance(generate, Generate)
                assert event.generated_chars == generate.max_chars
                assert event.offset == len(plain.text)
            case Rejected() if event.operation_id != CANCEL_ID:
                rejected = next(o for o in plain.operations if o.id == event.operation_id)
                plain.operations.remove(rejected)
                closing = any(isinstance(o, Close) for o in plain.operations)
                if isinstance(event.error, WrongState) and not closing:
                    assert isinstance(rejected, Generate)
                    assert not plain.text
                elif isinstance(event.error, WrongState):
                    before = [o.id or 0 for o in plain.operations]
                    assert (rejected.id or 0) > max(before), "refused what came before close"
                else:
                    assert isinstance(event.error, Full)
            case Closed():
                plain.closed = True
                plain.operations.clear()
            case _:
                pass

    def check_cancelled(self, plain: PlainSession, event: Finished) -> None:
        operation = next(o for o in plain.operations if o.id == event.operation_id)
        if isinstance(operation, Append):
            plain.text += operation.tokens[: event.appended_chars].tolist()
        plain.operations.remove(operation)
        # More than the plain text only while an append before it is half done.
        assert event.offset >= len(plain.text)

    @invariant()
    def whole(self) -> None:
        self.engine.check_integrity()
        assert self.engine.sessions == sum(not plain.closed for plain in self.plain.values())

    def teardown(self) -> None:
        for session_id in self.plain:
            self.engine.grant(session_id, 1_000)
            self.plain[session_id].granted += 1_000
        self.take()
        while not self.engine.idle:
            self.take()
        assert not any(plain.operations for plain in self.plain.values()), "an operation is lost"
        for session_id in self.plain:
            self.engine.close(session_id)
        self.engine.check_integrity()
        assert self.engine.sessions == 0


EngineMachine.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestEngine = EngineMachine.TestCase
