"""Random operations on several sessions, against a model that knows nothing but each one's text."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.server.plain_checks import CANCEL_ID, LIMITS, PlainChecks
from tests.server.plain_session import PlainSession
from tests.server.plain_stepper import SYMBOLS, PlainStepper

from cellwire.server.arena import Arena
from cellwire.server.engine import Engine
from cellwire.server.errors import Full, NotFound, OutOfRange
from cellwire.server.events import (
    Cancelled,
    Closed,
    Event,
    NotRecalled,
    Opened,
    Recalled,
    Rejected,
)
from cellwire.server.operations import (
    Accept,
    Append,
    Classify,
    Close,
    Complete,
    Ending,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)
from cellwire.server.sampling import Sampling
from cellwire.server.step import MAX_STEPS

SLOTS = 60
ATTACH_ID = 9_998

seeds = st.integers(0, 2**64 - 1)
texts = st.lists(st.integers(0, SYMBOLS - 1), min_size=1, max_size=20)
few = st.integers(0, 9)


class EngineMachine(PlainChecks, RuleBasedStateMachine):
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(SLOTS)
        self.engine = Engine(PlainStepper(), self.arena, LIMITS, max_sessions=9, max_batch=4)
        self.plain: dict[str, PlainSession] = {}
        self.next_id = 0
        self.max_steps = MAX_STEPS

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    @rule(max_steps=st.integers(1, MAX_STEPS))
    def pace(self, max_steps: int) -> None:
        self.max_steps = max_steps

    # What a client does.

    @rule(target=sessions, seed=seeds, window=st.sampled_from([0, 1, 5, 20, 80]))
    def open(self, seed: int, window: int) -> str:
        session_id = f"session {self.fresh_id()}"
        self.plain[session_id] = PlainSession(seed, window, granted=LIMITS.read_ahead_chars)
        self.engine.open(session_id, 0, seed, window)
        event = next(event for event in self.take() if event.session_id == session_id)
        assert isinstance(event, Opened | Closed)
        assert isinstance(event, Opened) or isinstance(event.error, Full)
        return session_id

    @rule(session_id=sessions, tokens=texts)
    def append(self, session_id: str, tokens: list[int]) -> None:
        self.submit(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(
        session_id=sessions,
        max_chars=st.integers(1, 30),
        seed=st.none() | seeds,
        stop=st.lists(st.lists(few.map(lambda t: t % SYMBOLS), min_size=1, max_size=2), max_size=2),
        alternatives=st.integers(0, 3),
    )
    def generate(
        self,
        session_id: str,
        max_chars: int,
        seed: int | None,
        stop: list[list[int]],
        alternatives: int,
    ) -> None:
        # A stop string must fit into the window; whoever makes operations sees to that.
        fitting = tuple(tuple(s) for s in stop if len(s) <= self.plain[session_id].window)
        sampling = Sampling(seed=seed)
        self.submit(
            session_id,
            Generate(self.fresh_id(), max_chars, sampling, stop=fitting, alternatives=alternatives),
        )

    @rule(
        session_id=sessions,
        width=st.integers(1, 3),
        completions=st.integers(1, 3),
        max_chars=st.integers(1, 5),
        penalty=st.sampled_from([0.0, 0.5, 1.0]),
        ending=st.builds(
            Ending,
            st.frozensets(few, max_size=3),
            st.none() | st.frozensets(few, max_size=6),
        ),
        partial=st.booleans(),
    )
    def complete(
        self,
        session_id: str,
        width: int,
        completions: int,
        max_chars: int,
        penalty: float,
        ending: Ending,
        partial: bool,  # noqa: FBT001  # drawn by name
    ) -> None:
        self.submit(
            session_id,
            Complete(
                self.fresh_id(), width, min(completions, width), max_chars, penalty, ending, partial
            ),
        )

    @rule(session_id=sessions, index=st.integers(0, 2), chars=st.integers(0, 5))
    def accept(self, session_id: str, index: int, chars: int) -> None:
        self.submit(session_id, Accept(self.fresh_id(), index, chars))

    @rule(session_id=sessions, chars=st.integers(0, 12))
    def rewind(self, session_id: str, chars: int) -> None:
        self.submit(session_id, Rewind(self.fresh_id(), chars=chars))

    @rule(session_id=sessions, offset=st.integers(0, 30))
    def rewind_to(self, session_id: str, offset: int) -> None:
        self.submit(session_id, Rewind(self.fresh_id(), offset=offset))

    @rule(session_id=sessions, tokens=texts, each=st.booleans())
    def score(self, session_id: str, tokens: list[int], each: bool) -> None:  # noqa: FBT001
        self.submit(session_id, Score(self.fresh_id(), np.array(tokens, np.uint32), each))

    @rule(session_id=sessions)
    def classify(self, session_id: str) -> None:
        self.submit(session_id, Classify(self.fresh_id()))

    @rule(target=sessions, session_id=sessions, seed=seeds)
    def fork_in_order(self, session_id: str, seed: int) -> str:
        new_id = f"session {self.fresh_id()}"
        # It is there when the fork is reported; until then, and if it is refused, it is closed.
        self.plain[new_id] = PlainSession(
            seed, self.plain[session_id].window, granted=LIMITS.read_ahead_chars, closed=True
        )
        self.submit(session_id, Fork(self.fresh_id(), new_id, seed))
        return new_id

    @rule(target=sessions, session_id=sessions, seed=seeds)
    def fork_at_once(self, session_id: str, seed: int) -> str:
        new_id = f"session {self.fresh_id()}"
        self.plain[new_id] = PlainSession(seed, self.plain[session_id].window, closed=True)
        try:
            self.engine.fork(session_id, new_id, seed)
        except NotFound:
            assert self.plain[session_id].closed
        except Full:
            pass
        else:
            self.check_copy(session_id, new_id, seed)
        return new_id

    @rule(target=sessions, session_id=sessions)
    def export_and_import(self, session_id: str) -> str:
        new_id = f"session {self.fresh_id()}"
        original = self.plain[session_id]
        self.plain[new_id] = PlainSession(original.seed, original.window, closed=True)
        try:
            frozen = self.engine.freeze(session_id)
            assert frozen.consistent
            self.engine.thaw(new_id, frozen)
        except NotFound:
            assert self.plain[session_id].closed
        except Full:
            pass
        else:
            self.check_copy(session_id, new_id, original.seed)
        return new_id

    @rule(session_id=sessions, keep=st.booleans())
    def close_in_order(self, session_id: str, keep: bool) -> None:  # noqa: FBT001
        self.submit(session_id, Close(self.fresh_id(), keep))

    @rule(session_id=consumes(sessions))
    def vanish(self, session_id: str) -> None:
        self.engine.close(session_id)
        self.take()
        assert self.plain[session_id].closed

    @rule(session_id=sessions)
    def vanish_and_stop(self, session_id: str) -> None:
        self.engine.cancel_all(session_id)
        self.take()
        assert all(isinstance(o, Close) for o in self.plain[session_id].operations)

    @rule(session_id=sessions)
    def vanish_and_pause(self, session_id: str) -> None:
        self.engine.hold(session_id)
        self.plain[session_id].held = True
        self.take()

    @rule(session_id=sessions, back=st.none() | st.integers(-1, 10))
    def attach(self, session_id: str, back: int | None) -> None:
        plain = self.plain[session_id]
        offset = None if back is None else len(plain.text) - back
        self.engine.attach(session_id, ATTACH_ID, offset)
        events = [e for e in self.take() if isinstance(e, Recalled | NotRecalled)]
        if isinstance(events[0], NotRecalled):
            assert isinstance(events[0].error, NotFound if plain.closed else OutOfRange)
            assert plain.closed or (offset is not None and (offset < 0 or back == -1))

    @rule(session_id=sessions, chars=st.integers(1, 8))
    def grant(self, session_id: str, chars: int) -> None:
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
        answer = next(e for e in events if getattr(e, "operation_id", 0) == CANCEL_ID)
        if known:
            assert isinstance(answer, Cancelled)
        else:
            assert isinstance(answer, Rejected)
            assert isinstance(answer.error, NotFound)

    @rule(steps=st.integers(1, 12))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.take()

    def submit(self, session_id: str, operation: Operation) -> None:
        plain = self.plain[session_id]
        if not plain.closed:
            plain.operations.append(operation)
        self.engine.submit(session_id, operation)
        self.take()

    # What must come of it.

    def take(self) -> list[Event]:
        """Step once, and check every event against the plain sessions."""
        events = self.engine.step(self.max_steps)
        for event in events:
            self.check(self.plain[event.session_id], event)
        return events

    @invariant()
    def whole(self) -> None:
        self.engine.check_integrity()
        assert self.engine.sessions == sum(not plain.closed for plain in self.plain.values())

    def teardown(self) -> None:
        for session_id, plain in self.plain.items():
            self.engine.attach(session_id, ATTACH_ID, None)
            self.take()
            plain.granted += 1_000
            self.engine.grant(session_id, 1_000)
        self.take()
        while not self.engine.idle:
            self.take()
        assert not any(plain.operations for plain in self.plain.values()), "an operation is lost"
        for session_id in self.plain:
            self.engine.close(session_id)
        self.engine.check_integrity()
        assert self.engine.sessions == 0
        assert self.arena.reserved == 0, "a slot is still spoken for"


EngineMachine.TestCase.settings = settings(stateful_step_count=50, deadline=None)
TestEngine = EngineMachine.TestCase
