"""The table of sessions: their number, and the slots that parking frees."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.one_session import some_tokens
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.stepper import State
from cellwire.server.engine.commands import CloseSession, GrantTokens, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.session_table import SessionTable
from cellwire.server.errors import NotFound, ResourceExhausted, StepFailed
from cellwire.server.session.events import Closed, Event, Opened, Rejected, Scored
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Complete, Generate, Score
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for
from cellwire.server.state.state_history import StateHistory

WINDOW = 0
SLOTS_EACH = slots_for(WINDOW)
SESSIONS = 128
CAPACITY = SESSIONS * SLOTS_EACH


class Unreadable(PlainStepper):
    """Refuses to read states after `reads_left` of them."""

    reads_left = 0
    reads = 0  # attempted

    def read_state(self, slot: int) -> State:
        self.reads += 1
        if self.reads_left == 0:
            raise StepFailed("the device is lost")
        self.reads_left -= 1
        return super().read_state(slot)


class FullTable:
    """A table of resting sessions "0", "1", ..., which take all slots."""

    def __init__(self, stepper: PlainStepper | None = None) -> None:
        self.arena = Arena(CAPACITY)
        self.table = SessionTable(self.arena, stepper or PlainStepper(), SESSIONS)
        self.events: list[Event] = []
        for number in range(SESSIONS):
            history = StateHistory(self.arena, WINDOW)
            session = Session(str(number), history, 1, Limits(), self.arena, self.events.append)
            self.table.add(session)

    @property
    def parked(self) -> list[int]:
        return [int(s.id) for s in self.table if s.state_history.parked]


def test_a_sixty_fourth_of_all_slots_is_freed_at_once() -> None:
    full = FullTable()
    full.table.make_room(1)
    assert full.arena.unreserved == CAPACITY // 64
    assert full.parked == [0, 1]


def test_more_slots_are_freed_if_more_are_needed() -> None:
    full = FullTable()
    full.table.make_room(9)
    assert full.arena.unreserved == 10
    assert full.parked == [0, 1, 2, 3, 4]


def test_no_session_is_parked_while_there_is_room() -> None:
    full = FullTable()
    full.table.make_room(4)
    full.table.make_room(3)
    full.table.make_room(4)
    assert full.parked == [0, 1]


def test_all_resting_sessions_are_parked_if_even_that_is_too_little() -> None:
    full = FullTable()
    full.table.make_room(CAPACITY + 1)
    assert full.arena.unreserved == CAPACITY
    with pytest.raises(ResourceExhausted, match="slots are reserved"):
        full.arena.reserve(CAPACITY + 1)


def test_the_session_that_room_is_made_for_is_not_parked() -> None:
    full = FullTable()
    starting = full.table.find("0")
    full.table.make_room(1, starting)
    assert full.parked == [1, 2]
    full.table.make_room(CAPACITY, starting)
    assert full.parked == list(range(1, SESSIONS))
    full.table.make_room(CAPACITY, starting)
    assert not starting.state_history.parked


def test_a_session_that_came_to_rest_later_is_parked_later() -> None:
    full = FullTable()
    full.table.update(full.table.find("0"))
    full.table.make_room(1)
    assert full.parked == [1, 2]


def test_a_state_that_cannot_be_read_leaves_every_session_as_it_was() -> None:
    full = FullTable(Unreadable())
    before = [session.id for session in full.table]
    full.table.find("0").state_history.append_tokens([1])
    full.table.make_room(1)
    assert full.parked == []
    assert full.arena.reserved == CAPACITY
    assert [session.id for session in full.table] == before
    for session in full.table:
        session.check_integrity()


def test_the_sessions_parked_before_a_failed_read_stay_parked() -> None:
    stepper = Unreadable()
    stepper.reads_left = 1
    full = FullTable(stepper)
    full.table.make_room(9)
    assert stepper.reads == 2  # none after the failure
    assert full.parked == [0]
    assert full.arena.unreserved == SLOTS_EACH
    stepper.reads_left = 9
    full.table.make_room(9)
    assert full.parked == [0, 1, 2, 3, 4]


def test_a_full_table_takes_no_session() -> None:
    full = FullTable()
    with pytest.raises(ResourceExhausted, match="all 128 sessions are taken"):
        full.table.check_new("another")
    full.table.find("7").close(None)
    full.table.update(full.table.find("7"))
    full.table.check_new("another")
    assert len(full.table) == SESSIONS - 1
    assert full.table.get("7") is None
    with pytest.raises(NotFound, match="no session '7'"):
        full.table.find("7")


def test_a_closed_session_can_be_dropped_twice() -> None:
    full = FullTable()
    session = full.table.find("7")
    session.close(None)
    full.table.update(session)
    full.table.update(session)
    assert len(full.table) == SESSIONS - 1


def engine_with(sessions: int, slots: int, stepper: PlainStepper) -> Engine:
    """Return an engine with resting sessions "0", "1", ... of one token."""
    engine = Engine(stepper, Arena(slots), Limits(), max_sessions=9, max_batch=8)
    for number in range(sessions):
        engine.handle(OpenSession(str(number), 0, number, WINDOW))
        engine.handle(SubmitOperation(str(number), some_tokens(number, 1, 2)))
        while not engine.idle:
            engine.step()
    engine.take_events()
    return engine


def test_an_open_is_refused_and_all_stays_if_a_state_cannot_be_read() -> None:
    stepper = Unreadable()
    engine = engine_with(3, 3 * SLOTS_EACH, stepper)
    before = engine.stats()
    engine.handle(OpenSession("3", 7, 1, WINDOW))
    (closed,) = engine.take_events()
    assert isinstance(closed, Closed)
    assert closed.operation_id == 7
    assert isinstance(closed.error, ResourceExhausted)
    assert engine.stats() == before
    engine.check_integrity()
    assert not any(engine.describe(str(number)).parked for number in range(3))
    stepper.reads_left = 1
    engine.handle(OpenSession("3", 7, 1, WINDOW))
    assert engine.take_events() == [Opened("3", 7, 1, WINDOW)]
    assert engine.describe("0").parked


def test_an_operation_that_needs_slots_never_parks_its_own_session() -> None:
    engine = engine_with(3, 3 * SLOTS_EACH, PlainStepper())
    engine.handle(SubmitOperation("0", Complete(2, 3, 1, 4)))
    assert not engine.describe("0").parked
    assert engine.describe("1").parked
    assert engine.describe("2").parked
    engine.handle(SubmitOperation("0", Complete(3, 5, 1, 4)))  # with its own, more than all
    while not engine.idle:
        engine.step()
    engine.check_integrity()
    assert not engine.describe("0").parked


def test_a_score_makes_room_for_its_slot() -> None:
    engine = engine_with(2, 2 * SLOTS_EACH, PlainStepper())
    engine.handle(SubmitOperation("0", Score(2, np.array([1, 2], np.uint32))))
    assert engine.describe("1").parked
    while not engine.idle:
        events = engine.step()
    assert [type(event) for event in events] == [Scored]
    assert engine.stats().reserved_slots == SLOTS_EACH
    engine.check_integrity()


def test_a_fork_never_parks_the_session_it_copies() -> None:
    engine = engine_with(2, 2 * SLOTS_EACH, PlainStepper())
    assert engine.fork("0", "fork", 1) == 3
    assert not engine.describe("0").parked
    assert engine.describe("1").parked
    with pytest.raises(NotFound):
        engine.fork("unknown", "copy", 1)


def test_a_fork_of_a_parked_session_makes_room_for_both() -> None:
    engine = engine_with(3, 2 * SLOTS_EACH, PlainStepper())
    assert engine.describe("0").parked
    assert engine.fork("0", "fork", 1) == 3
    assert [engine.describe(str(number)).parked for number in range(3)] == [False, True, True]
    engine.check_integrity()


def test_a_session_at_work_is_not_parked() -> None:
    engine = engine_with(2, 2 * SLOTS_EACH, PlainStepper())
    engine.handle(SubmitOperation("0", Generate(2, 1_000, Sampling())))
    engine.handle(SubmitOperation("1", Complete(2, 1, 1, 4)))
    (rejected,) = engine.take_events()
    assert isinstance(rejected, Rejected)
    assert isinstance(rejected.error, ResourceExhausted)
    assert not engine.describe("0").parked
    engine.handle(CloseSession("0"))
    engine.handle(GrantTokens("1", 1))
    engine.check_integrity()
