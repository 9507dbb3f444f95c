"""Sessions that go on after crashes, beside sessions that never stopped: the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.server.durable_client import Answer, DurableClient, Request
from tests.server.event_texts import EventTexts
from tests.server.plain_stepper import SYMBOLS, PlainStepper
from tests.server.store_record import ChooseState, StoreRecord
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.model_file.vocabulary import TextEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine.commands import (
    AttachReader,
    CancelOperation,
    GrantTokens,
    HoldSession,
    OpenSession,
    ReadState,
    SubmitOperation,
    SupplySnapshot,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotFound
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import (
    Appended,
    Attached,
    Checkpointed,
    Completed,
    Discarded,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
    Scored,
    SnapshotNeeded,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Accept,
    Append,
    Checkpoint,
    Complete,
    Discard,
    Fork,
    Generate,
    Operation,
    Restore,
    Rewind,
    Score,
)
from cellwire.server.session.restore_task import Supplied
from cellwire.server.state.arena import Arena
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import SessionSnapshot

CANCEL_ID, ATTACH_ID = 9_999, 9_998
SLOTS = 400
MOST_UNANSWERED = 30  # of a session, before more is sent than may wait
UNLIMITED = Limits(read_ahead_tokens=1_000_000)

session_ids = st.runner().flatmap(lambda machine: st.sampled_from(machine.alive))
seeds = st.integers(0, 2**64 - 1)
symbols = st.integers(0, SYMBOLS - 1)
texts = st.lists(symbols, min_size=1, max_size=20)
names = st.sampled_from(["a", "b"])
fractions = st.integers(0, 4)  # quarters


class SteadyEngine:
    """An engine that never stops; it carries operations out one after the other."""

    def __init__(self, stepper: Stepper) -> None:
        self.engine = Engine(stepper, Arena(SLOTS), UNLIMITED, max_sessions=20, max_batch=8)
        self.texts = EventTexts()
        self.kept: dict[tuple[str, str], SessionSnapshot] = {}

    def carry_out(self, session_id: str, operation: Operation) -> list[Event]:
        self.engine.handle(SubmitOperation(session_id, operation))
        events = self.take()
        while not self.engine.idle:
            events += self.take()
        return events

    def take(self) -> list[Event]:
        events = self.engine.step()
        for event in events:
            self.texts.add(event)
            match event:
                case Checkpointed():
                    snapshot = self.engine.snapshot(event.session_id)
                    self.kept[event.session_id, event.name] = snapshot
                case Discarded():
                    self.kept.pop((event.session_id, event.name), None)
                case SnapshotNeeded():
                    name = event.operation.name
                    supplied = self.kept.get((event.session_id, name), NotFound(name))
                    supply = SupplySnapshot(event.session_id, event.operation, supplied)
                    self.engine.handle(supply)
                    return events + self.take()
        return events


class ResumedMachine(RuleBasedStateMachine):
    """The engine that crashes, what is stored of it, and the clients."""

    make_stepper: Callable[[str], Stepper]

    def __init__(self) -> None:
        super().__init__()
        self.stepper = type(self).make_stepper("mortal")
        self.steady = SteadyEngine(type(self).make_stepper("steady"))
        self.engine = self.new_engine()
        self.record = StoreRecord()
        self.clients: dict[str, DurableClient] = {}
        self.safe = 0  # writes
        self.restores: dict[str, Restore] = {}  # that wait for their snapshots
        self.next_id = 0
        self.max_steps = 16

    def new_engine(self) -> Engine:
        limits = Limits(read_ahead_tokens=12)
        return Engine(self.stepper, Arena(SLOTS), limits, max_sessions=20, max_batch=3)

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    @property
    def alive(self) -> list[str]:
        return [session_id for session_id, client in self.clients.items() if client.alive]

    @initialize(seed=seeds, window=st.sampled_from([0, 1, 5, 20, 80]), tokens=texts)
    def open(self, seed: int, window: int, tokens: list[int]) -> None:
        session_id = f"session {self.fresh_id()}"
        self.clients[session_id] = DurableClient()
        for engine in (self.engine, self.steady.engine):
            engine.handle(OpenSession(session_id, 0, seed, window))
        self.steady.take()
        self.take()
        self.safe = len(self.record.writes)
        self.request(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(seed=seeds, window=st.sampled_from([0, 1, 5, 20, 80]))
    def open_another(self, seed: int, window: int) -> None:
        if len(self.clients) < 3:
            self.open(seed, window, [1])

    # The clients.

    def request(
        self, session_id: str, operation: Operation, complete: Complete | None = None
    ) -> None:
        self.clients[session_id].add(operation, complete)
        self.send(session_id)

    def send(self, session_id: str) -> None:
        while operation := self.clients[session_id].next_to_send():
            self.engine.handle(SubmitOperation(session_id, operation))

    @rule(session_id=session_ids, tokens=texts)
    def append(self, session_id: str, tokens: list[int]) -> None:
        self.request(session_id, Append(self.fresh_id(), np.array(tokens, np.uint32)))

    @rule(session_id=session_ids, back=st.integers(0, 9), kept=st.integers(0, 9), tokens=texts)
    def read_the_end_again(self, session_id: str, back: int, kept: int, tokens: list[int]) -> None:
        text = self.record.texts.sessions[session_id].text
        reread = tuple(text[max(0, len(text) - back) :])
        again, new_id = np.array([*reread[:kept], *tokens], np.uint32), self.fresh_id()
        end = TextEnd(f"the end after {new_id}", tuple(again[-kept:].tolist()) if kept else ())
        self.request(session_id, Append(new_id, again, reread, end))

    @rule(
        session_id=session_ids,
        max_tokens=st.integers(1, 60),
        seed=st.none() | seeds,
        stop=st.lists(st.lists(symbols, min_size=1, max_size=2), max_size=2),
        alternatives=st.sampled_from([0, 0, 2]),
        penalty=st.sampled_from([1.0, 1.0, 1.4]),
    )
    def generate(
        self,
        session_id: str,
        max_tokens: int,
        seed: int | None,
        stop: list[list[int]],
        alternatives: int,
        penalty: float,
    ) -> None:
        window = self.record.texts.sessions[session_id].log.rewind_window
        fitting = tuple(tuple(s) for s in stop if len(s) <= window)
        sampling = Sampling(seed=seed, repetition_penalty=penalty)
        self.request(
            session_id,
            Generate(
                self.fresh_id(),
                max_tokens,
                sampling,
                alternatives=alternatives,
                stop_strings=fitting,
            ),
        )

    @rule(session_id=session_ids, tokens=st.integers(0, 9))
    def rewind(self, session_id: str, tokens: int) -> None:
        self.request(session_id, Rewind(self.fresh_id(), tokens=tokens))

    @rule(session_id=session_ids, index=st.integers(0, 2), tokens=st.integers(0, 5))
    def accept(self, session_id: str, index: int, tokens: int) -> None:
        complete = Complete(self.fresh_id(), 2, 2, 4)
        self.request(session_id, Accept(self.fresh_id(), index, tokens), complete)

    @rule(session_id=session_ids, name=names)
    def keep(self, session_id: str, name: str) -> None:
        self.request(session_id, Checkpoint(self.fresh_id(), name))

    @rule(session_id=session_ids, name=names)
    def restore(self, session_id: str, name: str) -> None:
        self.request(session_id, Restore(self.fresh_id(), name))

    @rule(session_id=session_ids, name=names)
    def discard(self, session_id: str, name: str) -> None:
        if name in self.record.texts.sessions[session_id].kept:  # its host knows that
            client = self.clients[session_id]
            if not client.busy:
                self.request(session_id, Discard(self.fresh_id(), name))
                self.take()

    @rule(session_id=session_ids, name=names, tokens=texts, steps=st.integers(0, 9))
    def keep_and_restore(self, session_id: str, name: str, tokens: list[int], steps: int) -> None:
        if len(self.clients[session_id].unanswered) > MOST_UNANSWERED:
            return
        self.keep(session_id, name)
        self.append(session_id, tokens)
        self.restore(session_id, name)
        self.append(session_id, tokens[:1])
        self.step(steps)

    @rule(state=fractions)
    def supply(self, state: int) -> None:
        """Let a restore go on; all writes of its session are in the store then."""
        if not self.restores:
            return
        session_id = next(iter(self.restores))
        operation = self.restores.pop(session_id)
        supplied: Supplied
        if operation.name in self.record.texts.sessions[session_id].log.checkpoints:
            self.make_safe(4)
            choose = chosen(state)
            stored = self.record.load_checkpoint(session_id, operation.name, choose)
            supplied = resumed(stored)
        else:
            supplied = NotFound(operation.name)
        self.engine.handle(SupplySnapshot(session_id, operation, supplied))
        self.take()

    @rule(session_id=session_ids, seed=seeds)
    def fork(self, session_id: str, seed: int) -> None:
        if len(self.clients) >= 4:
            return
        number = self.fresh_id()
        new_id = f"session {number}"
        self.clients[session_id].children[number] = new_id
        self.request(session_id, Fork(number, new_id, seed, snapshot=True))

    @rule(session_id=session_ids, index=st.integers(0, 3))
    def cancel(self, session_id: str, index: int) -> None:
        unanswered = self.clients[session_id].unanswered
        if index < len(unanswered) and not isinstance(unanswered[index].operation, Fork):
            self.engine.handle(CancelOperation(session_id, CANCEL_ID, unanswered[index].id))
            self.take()

    @rule(session_id=session_ids, what=st.sampled_from(["hold", "attach", "park", "read_state"]))
    def disturb(self, session_id: str, what: str) -> None:
        session = self.engine._sessions.find(session_id)
        match what:
            case "hold":
                self.engine.handle(HoldSession(session_id))
            case "attach":
                self.engine.handle(AttachReader(session_id, ATTACH_ID, None))
            case "park" if session.resting:
                session.state_history.park(self.stepper.read_state)
            case _:
                self.engine.handle(ReadState(session_id))
        self.take()

    # The engine.

    @rule(max_steps=st.integers(1, 16))
    def change_max_steps(self, max_steps: int) -> None:
        self.max_steps = max_steps

    @rule(steps=st.integers(1, 9))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.take()

    @rule(
        session_id=session_ids, tokens=texts, steps=st.integers(1, 3), max_steps=st.integers(1, 9)
    )
    def read_state_within_an_append(
        self, session_id: str, tokens: list[int], steps: int, max_steps: int
    ) -> None:
        self.append(session_id, 3 * tokens)
        self.max_steps = max_steps
        self.step(steps)
        self.disturb(session_id, "read_state")

    @rule(
        steps=st.integers(1, 3),
        max_steps=st.integers(1, 9),
        session_id=session_ids,
        state=fractions,
    )
    def crash_within(self, steps: int, max_steps: int, session_id: str, state: int) -> None:
        """Crash when something is under way."""
        self.disturb(session_id, "attach")
        self.max_steps = max_steps
        self.step(steps)
        self.crash(4, state)

    @rule(share=fractions)
    def make_safe(self, share: int) -> None:
        more = share * (len(self.record.writes) - self.safe) // 4
        self.safe = self.record.together(self.safe + more)

    @rule(share=fractions, state=fractions)
    def crash(self, share: int, state: int) -> None:
        """Throw the engine away, and go on from some of what was written."""
        self.make_safe(share)
        writes, self.record = self.record.writes[: self.safe], StoreRecord()
        self.record.writes = writes
        self.engine = self.new_engine()
        stored = self.record.sessions()
        choose = chosen(state)
        self.restores.clear()
        for session_id, client in self.clients.items():
            client.alive = session_id in stored
            if client.alive:
                session = self.record.load(session_id, choose)
                snapshot = resumed(session)
                kept = self.record.kept_texts(session_id)
                self.record.texts.resume(session_id, snapshot, session, kept)
                self.engine.restore(session_id, snapshot)
        self.take()
        for session_id, client in self.clients.items():
            if client.alive:
                log = self.record.texts.sessions[session_id].log
                client.send_again(log.length, tuple(log.done), set(stored))
                self.send(session_id)

    def take(self) -> None:
        for event in self.engine.step(self.max_steps):
            self.record.add(event)
            self.receive(event)

    # What the clients hear.

    def receive(self, event: Event) -> None:
        client = self.clients[event.session_id]
        match event:
            case Written():
                client.requests[event.operation_id].take(event)
                self.engine.handle(GrantTokens(event.session_id, len(event.tokens)))
            case Forked():
                self.receive_copy(event)
            case SnapshotNeeded():
                self.restores[event.session_id] = event.operation
            case _ if event.operation_id == client.awaited and client.awaited is not None:
                client.awaited = None
                self.send(event.session_id)
            case _ if isinstance(event, Answer) and event.operation_id in client.requests:
                self.answered(event.session_id, client.requests[event.operation_id], event)
            case Completed() | Attached():
                pass
            case _:
                pass

    def receive_copy(self, forked: Forked) -> None:
        assert forked.operation_id is not None
        new_id, parent = forked.new_session_id, self.clients[forked.session_id]
        request = parent.requests[forked.operation_id]
        if new_id not in self.clients:
            self.clients[new_id] = DurableClient(forked.offset)
            self.steady.carry_out(forked.session_id, request.operation)
            request.answer = Finished(forked.session_id, 0, FinishReason.MAX_TOKENS, 0)
        client = self.clients[new_id]
        client.alive = True
        assert client.base == forked.offset
        client.send_again(forked.offset, (), set(self.clients))
        self.send(new_id)

    def answered(self, session_id: str, request: Request, event: Answer) -> None:
        text = self.record.texts.sessions[session_id].text.tolist()
        if request.answer is None:
            request.answer = event
            effective = request.effective(event)
            if effective is None:
                return
            self.check_steady(session_id, request, effective, event)
            request.text_after = self.steady.texts.texts[session_id][:]
        assert text == request.text_after
        if isinstance(event, Appended):
            assert event.log_probability == request.log_probability

    def check_steady(
        self, session_id: str, request: Request, effective: Operation, event: Event
    ) -> None:
        """Let the engine that never stops do the same."""
        if request.complete is not None:
            self.steady.carry_out(session_id, request.complete)
        events = self.steady.carry_out(session_id, effective)
        generated = [
            pair
            for e in events
            if isinstance(e, Written)
            for pair in zip(e.tokens, e.log_probabilities, strict=True)
        ]
        assert generated == request.generated
        answer = events[-1]
        if isinstance(answer, Appended):
            request.log_probability = answer.log_probability
        elif isinstance(answer, Finished) and isinstance(event, Finished):
            assert event.reason in {answer.reason, FinishReason.CANCELLED}
        elif isinstance(answer, Rejected):
            assert isinstance(event, Rejected)
            assert type(answer.error) is type(event.error)

    @invariant()
    def integrity_holds(self) -> None:
        self.engine.check_integrity()

    def teardown(self) -> None:
        """Finish everything, then compare what comes after."""
        for _ in range(1_000):
            for session_id in self.alive:
                self.engine.handle(AttachReader(session_id, ATTACH_ID, None))
            self.take()
            self.supply(2)
            if self.engine.idle and not any(client.busy for client in self.clients.values()):
                break
        for session_id, client in self.clients.items():
            assert client.alive
            assert not client.busy, "a request has no answer"
            self.compare(session_id)
        self.engine.check_integrity()

    def compare(self, session_id: str) -> None:
        steady, engine = self.steady.engine, self.engine
        one, other = steady.describe(session_id), engine.describe(session_id)
        assert (one.offset, one.tail) == (other.offset, other.tail)
        assert one.text_end == other.text_end, (one.text_end, other.text_end)
        floors = [e._sessions.find(session_id).state_history.rewind_floor for e in (steady, engine)]
        assert floors[0] == floors[1]
        tokens = np.arange(5, dtype=np.uint32)
        for operation in (
            Score(100_001, tokens),
            Append(100_002, tokens),
            Generate(100_003, 9, Sampling()),
            Rewind(100_004, offset=one.offset),
            Append(100_005, tokens),
        ):
            answers = [
                [e for e in carry_out(which, session_id, operation) if not isinstance(e, Attached)]
                for which in (steady, engine)
            ]
            assert repr(answers[0][-1]) == repr(answers[1][-1])
            assert logs(answers[0]) == logs(answers[1])


def carry_out(engine: Engine, session_id: str, operation: Operation) -> list[Event]:
    engine.handle(SubmitOperation(session_id, operation))
    events = engine.step()
    while not engine.idle:
        events += engine.step()
    return events


def chosen(state: int) -> ChooseState:
    """Return a choice among states, or of none."""
    return lambda states: [None, *states][state * len(states) // 4]


def logs(events: Sequence[Event]) -> list[float]:
    found: list[float] = []
    for event in events:
        if isinstance(event, Written):
            found += event.log_probabilities
        elif isinstance(event, Appended | Scored):
            found.append(event.log_probability)
    return found


class PlainResumedMachine(ResumedMachine):
    """With a plain stepper."""

    make_stepper = staticmethod(lambda _: PlainStepper())


@cache
def runtime(_: str) -> Runtime:
    with TemporaryDirectory() as folder:
        path = write_cell(Path(folder) / "tiny.onnx", lstm_cell(8))
        return Runtime(read_cell(path), Arena(SLOTS).slots, max_batch=16)


class CellResumedMachine(ResumedMachine):
    """With a cell."""

    make_stepper = staticmethod(runtime)


MANY = settings(stateful_step_count=40, max_examples=2 * settings().max_examples)
PlainResumedMachine.TestCase.settings = MANY
CellResumedMachine.TestCase.settings = settings(stateful_step_count=40)
TestPlain = pytest.mark.no_cover(pytest.mark.slow(PlainResumedMachine.TestCase))
TestCell = pytest.mark.no_cover(pytest.mark.slow(CellResumedMachine.TestCase))
