"""Runs on the card that go on while the host works: nothing done meanwhile disturbs them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.server.card.card import Card
from tests.server.card.conftest import MOST, RuntimeOn
from tests.server.card.native_session import NativeSession
from tests.server.card.results import check_same, random_batch, states
from tests.server.program_runs import batch_of

from cellwire.model_file.cell import Cell
from cellwire.server.batch.beam_step import BeamInput
from cellwire.server.batch.beam_step import batch_of as beam_batch_of
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import Run
from cellwire.server.engine import scheduler
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import StepFailed
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime.device import CPU, Device
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Closed, Completed, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Generate
from cellwire.server.state.arena import Arena

Start = Callable[[StepBatch], Run[StepResult]]
BESIDE = range(40, 60)  # slots that no batch touches


@pytest.fixture
def here(cell: Cell, runtime_on: RuntimeOn) -> Runtime:
    return runtime_on(cell, CPU)


@pytest.fixture
def there(cell: Cell, cuda: Device, runtime_on: RuntimeOn) -> Runtime:
    return runtime_on(cell, cuda)


def batches(cell: Cell, rows: int = 4, steps: int = 4) -> list[StepBatch]:
    """Two batches of one size, without a common slot."""
    first, second = (random_batch(cell, SamplerVariant.PLAIN, steps, rows, n) for n in (1, 2))
    slots = np.arange(rows) + 22
    return [first, replace(second, read_slot=slots, write_slot=slots)]


def test_a_card_overlaps(here: Runtime, there: Runtime) -> None:
    assert (here.overlaps, there.overlaps) == (False, True)
    assert [there.padded_rows(rows) for rows in (1, 3, 4, 5)] == [1, 4, 4, 8]


def test_a_run_goes_on_after_its_start(cell: Cell, there: Runtime, here: Runtime) -> None:
    """Where it writes is as before until it is waited for."""
    _, batch = batches(cell)
    slots = range(22, 26)
    check_same(batch, there.step(batch), here.step(batch))  # makes the size
    before = states(there, slots)
    run = there.start(batch)
    assert (states(there, slots) == before).all()
    check_same(batch, run.wait(), here.step(batch))
    assert (states(there, slots) != before).all()


def test_two_runs_of_one_size_do_not_disturb_each_other(
    cell: Cell, there: Runtime, here: Runtime
) -> None:
    first, second = batches(cell)
    for _ in range(3):
        runs = [there.start(batch) for batch in (first, second)]
        for batch, run in zip((first, second), runs, strict=True):
            check_same(batch, run.wait(), here.step(batch))
    assert np.abs(states(there, range(1, 30)) - states(here, range(1, 30))).max() < 1e-5


def read_and_write(runtime: Runtime) -> object:
    for slot in BESIDE[:3]:
        runtime.write_state(slot + 5, runtime.read_state(slot))
    return states(runtime, BESIDE)


def search(runtime: Runtime) -> object:
    slots = list(BESIDE[:2])
    start = BeamInput(
        [1, 1], [slots[0]] * 2, slots, [0.0, -np.inf], 0, [False] * 2, MAX_LENGTH_ONLY
    )
    return runtime.step_beams(beam_batch_of([start], 4)).token


def run_another_size(runtime: Runtime) -> object:
    slots = np.array(BESIDE[:1])
    batch = batch_of(1, token=[3], read_slot=slots, write_slot=slots)
    return runtime.start(batch).wait().chosen


@pytest.mark.parametrize("do", [read_and_write, search, run_another_size])
def test_what_is_done_meanwhile_disturbs_no_run(
    cell: Cell, there: Runtime, here: Runtime, do: Callable[[Runtime], object]
) -> None:
    first, second = batches(cell)
    for batch in (first, second):
        check_same(batch, there.step(batch), here.step(batch))
    run, expected = there.start(first), here.step(first)
    assert np.abs(np.asarray(do(there)) - np.asarray(do(here))).max() < 1e-5
    check_same(first, run.wait(), expected)
    assert np.abs(states(there, range(1, 60)) - states(here, range(1, 60))).max() < 1e-5


def test_the_card_is_free_for_others_while_a_run_is_in_flight(
    cell: Cell, card: Card, there: Runtime
) -> None:
    first, _ = batches(cell)
    run = there.start(first)
    free: list[bool] = []

    def other() -> None:
        free.append(card._lock.acquire(blocking=False))
        if free[0]:
            card._lock.release()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert free == [True]
    run.wait()


def test_a_run_that_fails_on_the_card_fails_where_it_is_waited_for(
    cell: Cell, there: Runtime, here: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = batches(cell)
    there.step(first)
    here.step(first)
    finish = NativeSession.finish

    def fail(session: NativeSession) -> None:
        if session._started:
            session._started.clear()
            raise RuntimeError("an illegal memory access")

    run = there.start(first)
    monkeypatch.setattr(NativeSession, "finish", fail)
    with monkeypatch.context():
        following = there.start(second)
    monkeypatch.setattr(NativeSession, "finish", finish)
    with pytest.raises(StepFailed, match="an illegal memory access"):
        run.wait()
    check_same(second, following.wait(), here.step(second))


def generated(engine: Engine, sessions: int) -> list[Event]:
    """Let sessions generate and search together."""
    for number in range(sessions):
        session_id = str(number)
        engine.handle(OpenSession(session_id, 0, number, 20))
        engine.handle(SubmitOperation(session_id, Append(1, np.array([number % 5], np.uint32))))
        alternatives = int(number % 5 == 4)
        generate = Generate(2, 30 + number, Sampling(top_k=number % 3), alternatives=alternatives)
        engine.handle(SubmitOperation(session_id, generate))
        engine.handle(SubmitOperation(session_id, Complete(3, 2, 1, 5)))
        engine.handle(SubmitOperation(session_id, Generate(4, 9, Sampling())))
    events = engine.step()
    while not engine.idle:
        events += engine.step()
        engine.check_integrity()
    assert not any(isinstance(event, Rejected | Closed) for event in events)
    return events


def texts(events: list[Event]) -> dict[str, list[tuple[object, float]]]:
    """The tokens and completions of each session, with their log-probabilities."""
    found: dict[str, list[tuple[object, float]]] = {}
    for event in events:
        values = found.setdefault(event.session_id, [])
        if isinstance(event, Written):
            values += zip(event.tokens, event.log_probabilities, strict=True)
        elif isinstance(event, Completed):
            values += [(c.tokens, c.log_probability) for c in event.completions]
    return found


def engine_with(runtime: Runtime, slots: int) -> Engine:
    limits = Limits(read_ahead_tokens=1_000)
    return Engine(runtime, Arena(slots), limits, max_sessions=99, max_batch=MOST)


def test_sessions_write_the_same_with_and_without_overlap(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batches of one size, bit for bit."""
    found = []
    for overlaps in (False, True):
        runtime = runtime_on(cell, cuda, slots=202, fixed_batch=True)
        monkeypatch.setattr(runtime._step_runner, "overlaps", overlaps)
        found.append(texts(generated(engine_with(runtime, 200), 2 * MOST + 3)))
    assert found[0] == found[1]


def test_halves_write_what_the_cpu_writes(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_ROWS_TO_HALVE", 4)
    found, rows = [], list[int]()
    for device in (CPU, cuda):
        runtime = runtime_on(cell, device, slots=102)
        start = runtime.start

        def counted(batch: StepBatch, start: Start = start) -> Run[StepResult]:
            rows.append(len(batch))
            return start(batch)

        monkeypatch.setattr(runtime, "start", counted)
        values = texts(generated(engine_with(runtime, 100), MOST))
        found.append({s: [token for token, _ in values[s]] for s in values})
    assert found[0] == found[1]
    assert rows.count(MOST // 2) > 2
