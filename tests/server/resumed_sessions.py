"""Sessions of an engine that crashes, and their clients: all as in one that never stops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis.stateful import RuleBasedStateMachine
from tests.server.durable_client import Answer, DurableClient, Request
from tests.server.steady_engine import SLOTS, SteadyEngine, carry_out, logs
from tests.server.store_record import StoreRecord

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine.commands import (
    GrantTokens,
    SubmitOperation,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.session.events import (
    Appended,
    Attached,
    Completed,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
    SnapshotNeeded,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Append,
    Generate,
    Operation,
    Restore,
    Rewind,
    Score,
)
from cellwire.server.state.arena import Arena


class ResumedSessions(RuleBasedStateMachine):
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

    def send(self, session_id: str) -> None:
        while operation := self.clients[session_id].next_to_send():
            self.engine.handle(SubmitOperation(session_id, operation))

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
