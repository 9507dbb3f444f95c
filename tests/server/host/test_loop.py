"""The thread that owns an engine: commands in, events out, and a loud end if it fails."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import numpy as np
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.host.loop import EngineLoop
from cellwire.server.session.events import Event, Finished
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Generate
from cellwire.server.state.arena import Arena

GUARD_S = 30


def loop_with(
    delivered: SimpleQueue[list[Event]], crashes: SimpleQueue[BaseException]
) -> EngineLoop:
    engine = Engine(PlainStepper(), Arena(8), Limits(), max_sessions=4, max_batch=8)
    return EngineLoop(engine, lambda _, events: delivered.put(events), crashes.put, "test")


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
