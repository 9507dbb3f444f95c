"""An engine beside plain sessions: every event is checked, and every slot is free at the end."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, invariant
from tests.server.change_texts import ChangeTexts
from tests.server.event_texts import EventTexts
from tests.server.plain_checks import LIMITS, PlainChecks
from tests.server.plain_session import PlainSession
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.limits import TAIL_TOKENS
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.engine.commands import (
    AttachReader,
    CloseSession,
    GrantTokens,
    OpenSession,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import ResourceExhausted
from cellwire.server.session.events import (
    Closed,
    Event,
    Finished,
    FinishReason,
    Opened,
    Written,
)
from cellwire.server.session.operations import Append, Operation
from cellwire.server.state.arena import Arena

SLOTS = 24  # too few for all sessions, so that some are parked
ATTACH_ID = 9_998


class PlainMachine(PlainChecks, RuleBasedStateMachine):
    """The engine, the plain sessions, and the invariants; subclasses add rules."""

    make_stepper: type[PlainStepper] = PlainStepper
    max_batch = 4

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(SLOTS)
        self.engine = Engine(
            self.make_stepper(), self.arena, LIMITS, max_sessions=9, max_batch=self.max_batch
        )
        self.plain: dict[str, PlainSession] = {}
        self.rebuilt = EventTexts()
        self.changed = ChangeTexts()
        self.next_id = 0
        self.max_steps = MAX_STEPS

    @property
    def known(self) -> list[str]:
        """The ids of all sessions, closed ones included."""
        return list(self.plain)

    @property
    def open_ids(self) -> list[str]:
        """The ids of the open sessions, or of all sessions if none is open."""
        return [i for i, plain in self.plain.items() if not plain.closed] or self.known

    @property
    def in_flight(self) -> list[str]:
        """The ids of the sessions in flight, to which commands wait for their run."""
        return [session.id for session in self.engine._runs.sessions_in_flight]

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def open_with(self, seed: int, window: int, tokens: list[int]) -> None:
        session_id = f"session {self.fresh_id()}"
        self.plain[session_id] = PlainSession(seed, window, granted=LIMITS.read_ahead_tokens)
        self.engine.handle(OpenSession(session_id, 0, seed, window))
        event = next(event for event in self.take() if event.session_id == session_id)
        assert isinstance(event, Opened | Closed)
        assert isinstance(event, Opened) or isinstance(event.error, ResourceExhausted)
        if tokens:
            self.submit(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))
        for _ in tokens:
            self.take()

    def copy_of(self, session_id: str, seed: int) -> str:
        """Add a plain session for a copy; it counts as closed until the copy is made."""
        new_id = f"session {self.fresh_id()}"
        self.plain[new_id] = PlainSession(
            seed, self.plain[session_id].window, granted=LIMITS.read_ahead_tokens, closed=True
        )
        return new_id

    def submit(self, session_id: str, operation: Operation) -> None:
        self.post(session_id, operation)
        self.take()

    def post(self, session_id: str, operation: Operation) -> None:
        """Submit an operation, and do not step."""
        plain = self.plain[session_id]
        if not plain.closed:
            plain.operations.append(operation)
        self.engine.handle(SubmitOperation(session_id, operation))

    def take(self) -> list[Event]:
        """Step once, and check all events against the plain sessions."""
        events = self.engine.step(self.max_steps)
        self.check_all(events)
        return events

    def check_all(self, events: list[Event]) -> None:
        self.heads = {name: next(iter(p.operations), None) for name, p in self.plain.items()}
        for event, following in zip_longest(events, events[1:]):
            self.rebuilt.add(event)
            self.changed.add(event)
            session_id = event.session_id
            if session_id in self.changed.sessions:
                changed = self.changed.sessions[session_id].text
                assert changed.tolist() == self.rebuilt.texts[session_id]
            plain = self.plain[event.session_id]
            if isinstance(event, Written) and plain.held:
                # Tokens held back for a stop string are reported when the generate is cancelled.
                assert isinstance(following, Finished), (
                    "text was generated while the session was held"
                )
                assert following.reason is FinishReason.CANCELLED
            self.check(plain, event)

    def check_rest(self) -> None:
        """Check the events of what was done outside a stream, and of runs finished for it."""
        self.check_all(self.engine.take_events())

    @invariant()
    def integrity_holds(self) -> None:
        self.engine.check_integrity()
        assert self.engine.stats().sessions == sum(
            not plain.closed for plain in self.plain.values()
        )

    @invariant()
    def events_carry_every_text(self) -> None:
        """All tokens are in events, except those that a running append has added."""
        assert not self.engine.take_events()
        for session_id, plain in self.plain.items():
            if plain.closed:
                continue
            changed = self.changed.sessions[session_id]
            assert self.rebuilt.texts[session_id] == changed.text.tolist() == plain.text
            if session_id in self.in_flight:  # the run would be finished before the description
                continue
            description = self.engine.describe(session_id)
            assert description.offset == len(plain.text)
            assert list(description.tail) == list(plain.text[-TAIL_TOKENS:])
            if not plain.operations:
                assert description.text_end == plain.text_end
                assert changed.end in {None, plain.text_end}
                history = self.engine._sessions.find(session_id).state_history
                assert changed.log.rewind_floor == history.rewind_floor

    def teardown(self) -> None:
        for session_id, plain in self.plain.items():
            self.engine.handle(AttachReader(session_id, ATTACH_ID, None))
            self.take()
            plain.granted += 1_000
            self.engine.handle(GrantTokens(session_id, 1_000))
        self.take()
        while not self.engine.idle:
            self.take()
        assert not any(plain.operations for plain in self.plain.values()), (
            "an operation has no answer"
        )
        for session_id in self.plain:
            self.engine.handle(CloseSession(session_id))
        self.engine.check_integrity()
        assert self.engine.stats().sessions == 0
        assert self.arena.reserved == 0, "a slot is still reserved"
