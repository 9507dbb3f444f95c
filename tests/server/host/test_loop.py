"""The thread that owns an engine: commands in, events out, and a loud end if it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
import pytest
from tests.server.overlapping_stepper import OverlappingStepper
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.engine.commands import CloseSession, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.host.loop import EngineLoop
from cellwire.server.session.events import Closed, Event, Finished
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena

GUARD_S = 30


def loop_with(
    delivered: SimpleQueue[list[Event]],
    crashes: SimpleQueue[BaseException],
    on_end: Callable[[], None] = lambda: None,
    stepper: PlainStepper | None = None,
) -> EngineLoop:
    stepper = stepper or PlainStepper()
    engine = Engine(stepper, Arena(8), Limits(), max_sessions=4, max_batch=1)
    return EngineLoop(
        engine, lambda _, events: delivered.put(events), crashes.put, "test", on_end=on_end
    )


def test_commands_from_many_threads_are_carried_out() -> None:
    delivered: SimpleQueue[list[Event]] = SimpleQueue()
    loop = loop_with(delivered, SimpleQueue())
    loop.start()

    def use(session_id: str) -> None:
        loop.post(OpenSession(session_id, 0, 1, 0))
        append = Append(1, np.array([1, 2], np.uint32))
        loop.post(SubmitOperation(session_id, append))
        loop.post(SubmitOperation(session_id, Generate(2, 50, Sampling())))

    threads = [threading.Thread(target=use, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    finished: set[str] = set()
    while len(finished) < 4:
        events = delivered.get(timeout=GUARD_S)
        assert events, "woken for nothing"
        finished |= {e.session_id for e in events if isinstance(e, Finished)}
    for thread in threads:
        thread.join()
    loop.stop()


def test_a_loop_that_was_stopped_takes_nothing_more() -> None:
    loop = loop_with(SimpleQueue(), SimpleQueue())
    loop.start()
    carried_out: SimpleQueue[int] = SimpleQueue()
    assert not loop.call(lambda _: carried_out.put(1)).cancelled()
    loop.stop()
    assert carried_out.get_nowait() == 1
    assert loop.call(lambda _: carried_out.put(2)).cancelled()
    assert carried_out.empty()


def test_a_fault_of_ours_is_reported() -> None:
    crashes: SimpleQueue[BaseException] = SimpleQueue()
    loop = loop_with(SimpleQueue(), crashes)
    loop.start()

    def fault(_: Engine) -> None:
        raise RuntimeError("a fault")

    loop.call(fault)
    assert str(crashes.get(timeout=GUARD_S)) == "a fault"
    loop.stop()


@pytest.mark.parametrize("crash", [False, True])
def test_the_thread_gives_back_what_the_engine_uses(crash: bool) -> None:  # noqa: FBT001
    ended: SimpleQueue[str] = SimpleQueue()
    crashes: SimpleQueue[BaseException] = SimpleQueue()
    loop = loop_with(SimpleQueue(), crashes, lambda: ended.put(threading.current_thread().name))
    loop.start()

    def fault(_: Engine) -> None:
        raise RuntimeError("a fault")

    if crash:
        loop.call(fault)
    loop.stop()
    assert ended.get_nowait() == "engine test"
    assert crashes.empty() != crash
    assert ended.empty()


def test_a_crash_is_reported_before_what_may_take_long() -> None:
    reported = threading.Event()

    def give_back() -> None:
        assert reported.is_set()
        raise RuntimeError("not given back")

    errors: list[str] = []

    def on_crash(error: BaseException) -> None:
        errors.append(str(error))
        reported.set()

    engine = Engine(PlainStepper(), Arena(8), Limits(), max_sessions=4, max_batch=1)
    loop = EngineLoop(engine, lambda *_: None, on_crash, "test", on_end=give_back)
    loop.start()

    def fault(_: Engine) -> None:
        raise RuntimeError("a fault")

    loop.call(fault)
    loop.stop()
    assert errors == ["a fault", "not given back"]


def test_a_loop_that_never_started_gives_it_back_when_it_is_stopped() -> None:
    ended: SimpleQueue[None] = SimpleQueue()
    loop = loop_with(SimpleQueue(), SimpleQueue(), lambda: ended.put(None))
    assert loop.stop()
    ended.get_nowait()
    assert loop.call(lambda _: None).cancelled()


def test_what_cannot_be_given_back_is_a_fault() -> None:
    crashes: SimpleQueue[BaseException] = SimpleQueue()

    def fail() -> None:
        raise RuntimeError("held for good")

    loop = loop_with(SimpleQueue(), crashes, fail)
    loop.start()
    loop.stop()
    assert str(crashes.get_nowait()) == "held for good"


def start_two_sessions(engine: Engine) -> None:
    """Let two sessions generate, one token in each run."""
    for session_id in ("a", "b"):
        engine.handle(OpenSession(session_id, 0, 1, 0))
        engine.handle(SubmitOperation(session_id, Append(1, np.array([1], np.uint32))))
        generate = Generate(2, 1_000, Sampling(), alternatives=1)
        engine.handle(SubmitOperation(session_id, generate))


def test_a_run_in_flight_is_finished_before_a_loop_ends() -> None:
    delivered: SimpleQueue[list[Event]] = SimpleQueue()
    crashes: SimpleQueue[BaseException] = SimpleQueue()
    stepper = OverlappingStepper()
    loop = loop_with(delivered, crashes, stepper=stepper)
    loop.start()

    def close_both_in_flight(engine: Engine) -> int:
        start_two_sessions(engine)
        engine.step()
        for session_id in ("a", "b"):
            loop.post(CloseSession(session_id))
        loop.begin_to_stop()
        return len(stepper.in_flight)

    assert loop.call(close_both_in_flight).result(GUARD_S) == 1
    assert loop.stop()
    assert stepper.in_flight == []
    found = [event for _ in range(delivered.qsize()) for event in delivered.get()]
    assert sorted(e.session_id for e in found if isinstance(e, Closed)) == ["a", "b"]
    assert crashes.empty()


def test_a_fault_of_a_run_in_flight_is_reported() -> None:
    class Faulty(OverlappingStepper):
        def step(self, batch: StepBatch) -> StepResult:  # noqa: ARG002
            raise ZeroDivisionError("a fault")

    crashes: SimpleQueue[BaseException] = SimpleQueue()
    loop = loop_with(SimpleQueue(), crashes, stepper=Faulty())
    loop.start()
    loop.call(start_two_sessions).result(GUARD_S)
    assert str(crashes.get(timeout=GUARD_S)) == "a fault"
    loop.stop()
