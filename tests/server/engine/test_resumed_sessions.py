"""Sessions that go on after crashes, beside sessions that never stopped: the same, bit for bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.server.durable_client import DurableClient
from tests.server.plain_stepper import SYMBOLS, PlainStepper
from tests.server.resumed_sessions import ResumedSessions
from tests.server.steady_engine import SLOTS
from tests.server.store_record import ChooseState, StoreRecord
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.model_file.vocabulary import TextEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import (
    AttachReader,
    CancelOperation,
    HoldSession,
    OpenSession,
    ReadState,
    SupplySnapshot,
)
from cellwire.server.errors import NotFound
from cellwire.server.runtime.runtime import Runtime
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
)
from cellwire.server.session.restore_task import Supplied
from cellwire.server.state.arena import Arena
from cellwire.server.state.resume import resumed

CANCEL_ID, ATTACH_ID = 9_999, 9_998
MOST_UNANSWERED = 30  # of a session, before more is sent than may wait

session_ids = st.runner().flatmap(lambda machine: st.sampled_from(machine.alive))
seeds = st.integers(0, 2**64 - 1)
symbols = st.integers(0, SYMBOLS - 1)
texts = st.lists(symbols, min_size=1, max_size=20)
names = st.sampled_from(["a", "b"])
fractions = st.integers(0, 4)  # quarters


class ResumedMachine(ResumedSessions):
    """What clients ask, and when the engine crashes."""

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


def chosen(state: int) -> ChooseState:
    """Return a choice among states, or of none."""
    return lambda states: [None, *states][state * len(states) // 4]


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
