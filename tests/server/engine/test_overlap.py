"""Runs that go on while the host works: two at a time, of different sessions, in the same turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.server.event_texts import EventTexts
from tests.server.overlapping_stepper import OverlappingStepper
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import Run
from cellwire.server.engine.commands import (
    AttachReader,
    CancelAll,
    CancelOperation,
    CloseSession,
    Command,
    FinishSession,
    GrantTokens,
    HoldSession,
    OpenSession,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import AlreadyExists, NotCompiled, NotFound, StepFailed
from cellwire.server.session import events
from cellwire.server.session.events import Event, FinishReason, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Fork, Generate, Rewind
from cellwire.server.session.task import MULTI_STEP, SINGLE_STEP, RunKind
from cellwire.server.state.arena import Arena
from cellwire.server.state.rewind_window import slots_for
from cellwire.server.state.snapshot import SessionSnapshot

WINDOW = 20
FIRST, SECOND = "0", "1"  # of two sessions that take turns, the one in flight, and the other


def engine_with(
    stepper: PlainStepper,
    sessions: int,
    max_batch: int = 1,
    slots: int = 9_000,
    max_sessions: int = 999,
) -> Engine:
    """Return an engine with sessions "0", "1", ... of one token each."""
    limits = Limits(read_ahead_tokens=10_000)
    engine = Engine(stepper, Arena(slots), limits, max_sessions=max_sessions, max_batch=max_batch)
    for number in range(sessions):
        engine.handle(OpenSession(str(number), 0, number, WINDOW))
        text = np.array([number % 7], np.uint32)
        engine.handle(SubmitOperation(str(number), Append(1, text)))
    engine.take_events()
    return engine


def generate(tokens: int = 1_000, alternatives: int = 0) -> Generate:
    return Generate(2, tokens, Sampling(), alternatives=alternatives)


def start(engine: Engine, *session_ids: str) -> None:
    for session_id in session_ids:
        engine.handle(SubmitOperation(session_id, generate()))


def first_in_flight(stepper: PlainStepper | None = None) -> Engine:
    """Return an engine with two sessions that generate, the first of them in flight."""
    engine = engine_with(stepper or OverlappingStepper(), 2)
    start(engine, FIRST, SECOND)
    assert engine.step(4) == []
    return engine


def sessions_of(found: list[Event]) -> list[str]:
    return [event.session_id for event in found]


def run_steps(engine: Engine, steps: int) -> list[Event]:
    return [event for _ in range(steps) for event in engine.step(2)]


def run(engine: Engine) -> list[Event]:
    found = engine.step()
    while not engine.idle:
        engine.check_integrity()
        found += engine.step()
    return found


def test_two_sessions_run_in_turn_two_at_a_time() -> None:
    stepper = OverlappingStepper()
    engine = engine_with(stepper, 2)
    start(engine, FIRST, SECOND)
    found = [sessions_of(engine.step()) for _ in range(6)]
    assert found == [[], ["0"], ["1"], ["0"], ["1"], ["0"]]
    assert stepper.most_in_flight == 2
    assert not engine.idle


def test_a_single_session_waits_no_extra_turn() -> None:
    engine = engine_with(OverlappingStepper(), 1)
    start(engine, FIRST)
    for _ in range(3):
        assert sessions_of(engine.step()) == ["0"]
        assert engine.describe(FIRST).offset > 1
        assert engine.take_events() == []  # nothing was left in flight


def test_the_last_run_is_committed_when_nothing_else_starts() -> None:
    engine = first_in_flight()
    engine.handle(CloseSession(SECOND))
    assert sessions_of(engine.step()) == ["1", "0"]
    assert sessions_of(engine.step()) == ["0"]


def test_sessions_that_fit_into_one_run_stay_together() -> None:
    stepper = OverlappingStepper()
    engine = engine_with(stepper, 3, max_batch=3)
    start(engine, "0", "1")
    engine.handle(SubmitOperation("2", generate(alternatives=1)))
    for _ in range(12):
        engine.step()
    engine.handle(CancelAll("2"))
    engine.handle(SubmitOperation("2", Append(3, np.array([1], np.uint32))))
    start(engine, "2")
    for _ in range(4):
        engine.step()
    assert stepper.batches[-2:] == [3, 3]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (255, [255, 255]),
        (256, [128, 128]),
        (300, [256, 44]),  # as padded
        (700, [512, 188]),
    ],
)
def test_many_rows_run_as_two_halves(rows: int, expected: list[int]) -> None:
    class Padding(OverlappingStepper):
        def padded_rows(self, rows: int) -> int:
            return 1 << (rows - 1).bit_length()

    stepper = Padding()
    engine = engine_with(stepper, rows, max_batch=512)
    start(engine, *map(str, range(rows)))
    for _ in range(7):
        engine.step(1)
    assert stepper.batches[:2] == stepper.batches[4:6] == expected


def test_a_search_is_committed_by_the_step_that_carries_it_out() -> None:
    """The time of a step then is that of the run that it commits."""
    stepper = OverlappingStepper()
    engine = engine_with(stepper, 3)
    start(engine, "0", "1")
    engine.step(4)
    engine.handle(SubmitOperation("2", Complete(5, 2, 1, 40)))
    assert sessions_of(engine.step(4)) == ["0"]  # which was in flight
    assert engine.committed == (MULTI_STEP, 4)
    kinds = []
    for _ in range(6):
        searches, rows = len(stepper.searches), len(stepper.batches)
        engine.step(4)
        carried_out = len(stepper.searches) - searches, len(stepper.batches) - rows
        assert engine.committed
        kinds.append(engine.committed[0].beam_width)
        assert carried_out == ((1, 0) if kinds[-1] else (0, 1))
        assert not stepper.in_flight
    assert kinds == [2, 0] * 3


def test_rows_that_cost_as_much_as_all_are_no_half() -> None:
    class OnlySize(OverlappingStepper):
        def padded_rows(self, rows: int) -> int:  # noqa: ARG002
            return 512

    stepper = OnlySize()
    engine = engine_with(stepper, 300, max_batch=512)
    start(engine, *map(str, range(300)))
    engine.step(1)
    engine.step(1)
    assert stepper.batches == [300, 300]


def test_a_stepper_that_does_not_overlap_takes_all_rows() -> None:
    stepper = PlainStepper()
    engine = engine_with(stepper, 300, max_batch=512)
    start(engine, *map(str, range(300)))
    for _ in range(3):
        assert len(engine.step(1)) == 300
    assert stepper.batches == [300, 300, 300]


@pytest.mark.parametrize("stepper", [PlainStepper(), OverlappingStepper()])
def test_kinds_of_runs_have_the_same_turns(stepper: PlainStepper) -> None:
    engine = engine_with(stepper, 5, max_batch=64)
    start(engine, "0", "1", "2", "3")
    engine.handle(SubmitOperation("4", generate(alternatives=2)))
    committed: list[tuple[RunKind, int]] = []
    while len(committed) < 24:
        engine.step()
        if engine.committed:
            committed.append(engine.committed)
    kinds = [kind for kind, _ in committed]
    assert kinds[6:] == 3 * [
        MULTI_STEP,
        MULTI_STEP,
        MULTI_STEP,
        MULTI_STEP,
        SINGLE_STEP,
        SINGLE_STEP,
    ]
    assert {steps for kind, steps in committed if kind == SINGLE_STEP} == {1}
    assert stepper.batches[6:24] == [4, 4, 4, 4, 1, 1] * 3


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (CloseSession(FIRST), events.Closed),
        (FinishSession(FIRST, keep=False), None),
        (SubmitOperation(FIRST, Rewind(5, tokens=1)), None),
        (SubmitOperation(FIRST, generate()), events.Rejected),  # its id is taken
        (CancelOperation(FIRST, 5, 2), events.Finished),
        (CancelAll(FIRST), events.Finished),
        (GrantTokens(FIRST, 5), None),
        (HoldSession(FIRST), None),
        (AttachReader(FIRST, 5, 1), events.Attached),
    ],
)
def test_a_command_to_a_session_in_flight_waits_for_its_run(
    command: Command, answer: type[Event] | None
) -> None:
    engine = first_in_flight()
    engine.handle(command)
    engine.check_integrity()
    assert engine.take_events() == []
    found = engine.step(4)
    assert isinstance(found[0], Written)
    assert [type(event) for event in found[1:2]] == ([answer] if answer else [])
    engine.check_integrity()
    if answer is events.Attached:
        assert getattr(found[1], "tokens", None) == tuple(found[0].tokens)


def test_commands_that_waited_are_carried_out_in_their_order() -> None:
    engine = first_in_flight()
    engine.handle(CancelOperation(FIRST, 5, 2))
    engine.handle(SubmitOperation(FIRST, Append(6, np.array([1, 2], np.uint32))))
    engine.handle(CancelOperation(FIRST, 7, 6))
    engine.handle(CloseSession(FIRST))
    found = engine.step(4)
    assert [type(event) for event in found] == [
        Written,
        events.Finished,
        events.Cancelled,
        events.Finished,
        events.Cancelled,
        events.Closed,
    ]


def test_commands_to_other_sessions_are_carried_out_at_once() -> None:
    engine = first_in_flight()
    engine.handle(CancelOperation(SECOND, 5, 2))
    engine.handle(OpenSession("new", 0, 1, WINDOW))
    engine.handle(CloseSession(SECOND))
    engine.handle(AttachReader("unknown", 5, None))
    assert [type(event) for event in engine.take_events()] == [
        events.Finished,
        events.Cancelled,
        events.Opened,
        events.Closed,
        events.AttachFailed,
    ]
    assert sessions_of(engine.step(4)) == ["0"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda engine, session_id: engine.fork(session_id, f"copy of {session_id}", 1),
        lambda engine, session_id: engine.snapshot(session_id),
        lambda engine, session_id: engine.describe(session_id),
    ],
)
def test_a_question_to_a_session_in_flight_finishes_its_run(
    ask: Callable[[Engine, str], object],
) -> None:
    engine = first_in_flight()
    ask(engine, SECOND)
    assert Written not in map(type, engine.take_events())
    engine.handle(SubmitOperation(FIRST, Append(7, np.array([1], np.uint32))))
    ask(engine, FIRST)
    assert isinstance(engine.take_events()[0], Written)
    assert engine.describe(FIRST).operation_ids == (2, 7)
    engine.check_integrity()


def test_an_id_is_free_again_when_its_session_has_ended() -> None:
    """The end of a session in flight waits for its run; another of its id waits with it."""
    engine = first_in_flight()
    engine.handle(CloseSession(FIRST))
    engine.handle(OpenSession(FIRST, 3, 1, WINDOW))
    kinds = [type(event) for event in engine.take_events()]
    assert kinds[-2:] == [events.Closed, events.Opened]
    assert engine.describe(FIRST).offset == 0
    engine.check_integrity()


def test_an_id_of_a_session_is_taken() -> None:
    engine = first_in_flight()
    engine.handle(OpenSession(FIRST, 3, 1, WINDOW))
    closed = engine.take_events()[-1]
    assert isinstance(closed, events.Closed)
    assert isinstance(closed.error, AlreadyExists)
    with pytest.raises(AlreadyExists):
        engine.fork(SECOND, FIRST, 1)
    with pytest.raises(AlreadyExists):
        engine.restore(SECOND, engine.snapshot(FIRST))


def test_a_snapshot_is_restored_beside_a_run_in_flight() -> None:
    engine = first_in_flight()
    snapshot = engine.snapshot(SECOND)
    engine.restore("copy", snapshot)
    assert engine.describe("copy").tail == (1,)
    stats = engine.stats()
    assert (stats.sessions, stats.runnable_sessions) == (3, 2)


def test_room_is_made_beside_a_run_in_flight() -> None:
    stepper = OverlappingStepper()
    engine = engine_with(stepper, 3, slots=3 * slots_for(WINDOW))
    engine.handle(SubmitOperation("2", Append(5, np.array([1, 2], np.uint32))))
    run(engine)
    start(engine, FIRST, SECOND)
    engine.step(4)
    engine.handle(OpenSession("new", 0, 1, WINDOW))
    assert isinstance(engine.take_events()[0], events.Opened)
    assert engine.describe("2").parked
    assert not engine.describe(SECOND).parked
    engine.check_integrity()


@pytest.mark.parametrize(
    "add",
    [
        lambda engine, _: engine.handle(OpenSession("new", 0, 1, WINDOW)),
        lambda engine, _: engine.fork(SECOND, "new", 1),
        lambda engine, _: engine.handle(SubmitOperation(SECOND, Fork(7, "new", 1))),
        lambda engine, snapshot: engine.restore("new", snapshot),
    ],
)
def test_a_session_that_is_to_be_closed_takes_no_room(
    add: Callable[[Engine, SessionSnapshot], object],
) -> None:
    engine = engine_with(OverlappingStepper(), 3, slots=3 * slots_for(WINDOW), max_sessions=3)
    snapshot = engine.snapshot(SECOND)
    start(engine, FIRST, "2")
    engine.step(4)
    engine.handle(CloseSession(FIRST))
    add(engine, snapshot)
    kinds = [type(event) for event in engine.take_events()]
    assert kinds[:2] == [Written, events.Closed]
    assert kinds[-1] in {events.Opened, events.Forked, events.Restored}
    engine.check_integrity()


def test_a_session_that_is_to_be_closed_is_not_counted() -> None:
    engine = first_in_flight()
    assert engine.stats().sessions == 2
    assert engine.take_events() == []  # its run goes on
    engine.handle(CloseSession(FIRST))
    assert engine.stats().sessions == 1


def test_an_operation_in_order_that_forks_follows_the_commit() -> None:
    engine = engine_with(OverlappingStepper(), 2)
    start(engine, SECOND)
    engine.handle(SubmitOperation(FIRST, generate(3)))
    engine.handle(SubmitOperation(FIRST, Fork(5, "copy", 9)))
    texts = EventTexts()
    texts.texts = {"0": [0], "1": [1]}
    engine.handle(CloseSession(SECOND))
    for event in run(engine):
        texts.add(event)
    assert texts.texts["copy"] == texts.texts["0"]
    assert len(texts.texts["0"]) == 4


class Failing(OverlappingStepper):
    """Fails in the runs that read a token, when they start or when they are waited for."""

    def __init__(self, token: int, *, at_start: bool = False) -> None:
        super().__init__()
        self.token = token
        self.at_start = at_start

    def start(self, batch: StepBatch) -> Run[StepResult]:
        if self.at_start and self.token in batch.token:
            raise NotCompiled("no room")
        return super().start(batch)

    def step(self, batch: StepBatch) -> StepResult:
        if self.token in batch.token:
            raise StepFailed("the card failed")
        return super().step(batch)


def test_a_run_that_fails_ends_its_own_sessions_only() -> None:
    engine = first_in_flight(Failing(token=0))  # which the first session reads
    engine.handle(AttachReader(FIRST, 5, None))
    engine.handle(CancelOperation(FIRST, 6, 2))
    closed, failed = engine.step(4)
    assert isinstance(closed, events.Closed)
    assert isinstance(closed.error, StepFailed)
    assert isinstance(failed, events.AttachFailed)
    assert isinstance(failed.error, NotFound)
    found = engine.step(4) + engine.step(4)
    assert sessions_of(found) == ["1", "1"]
    assert engine.stats().sessions == 1
    engine.check_integrity()


def test_a_question_about_a_session_whose_run_fails_finds_none() -> None:
    engine = first_in_flight(Failing(token=0))
    with pytest.raises(NotFound):
        engine.describe(FIRST)


def test_a_run_that_cannot_start_leaves_the_one_in_flight_alone() -> None:
    engine = first_in_flight(Failing(token=1, at_start=True))
    rejected, written = engine.step(4)
    assert isinstance(rejected, events.Rejected)
    assert rejected.session_id == SECOND
    assert isinstance(written, Written)
    assert written.session_id == FIRST
    assert engine.describe(SECOND).operation_ids == ()
    engine.check_integrity()


def test_a_run_that_fails_as_it_starts_ends_its_sessions() -> None:
    class FailingAtOnce(OverlappingStepper):
        def start(self, batch: StepBatch) -> Run[StepResult]:
            if 1 in batch.token:
                raise StepFailed("the card failed")
            return super().start(batch)

    engine = first_in_flight(FailingAtOnce())
    found = engine.step(4)
    assert [(type(event), event.session_id) for event in found] == [
        (events.Closed, SECOND),
        (Written, FIRST),
    ]


def test_texts_are_the_same_with_and_without_overlap() -> None:
    texts = []
    for stepper in (PlainStepper(), OverlappingStepper()):
        engine = engine_with(stepper, 7, max_batch=2)
        found = EventTexts()
        found.texts = {str(number): [number] for number in range(7)}
        for number in range(7):
            operation = generate(20 + number, alternatives=number % 2)
            engine.handle(SubmitOperation(str(number), operation))
        for event in run(engine):
            found.add(event)
            assert getattr(event, "reason", FinishReason.MAX_TOKENS) is FinishReason.MAX_TOKENS
        texts.append(found.texts)
    assert texts[0] == texts[1]
