"""An engine with one session, for tests of single sessions."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from tests.server.plain_stepper import PlainStepper, Text

from cellwire.server.batch.step import SAMPLED, StepBatch, StepResult
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.session.events import Event, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Operation
from cellwire.server.state.arena import Arena

Kind = TypeVar("Kind", bound=Event)
UNLIMITED = Limits()


class Cycling(PlainStepper):
    """Generates 1 2 3 1 2 3 ..., each token from the one before, and records its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[StepBatch] = []

    def step(self, batch: StepBatch) -> StepResult:
        self.seen.append(batch)
        return super().step(batch)

    def walk(self, batch: StepBatch, row: int) -> tuple[list[Text], Text]:
        texts: list[Text] = []
        tokens: Text = ()
        text, token = self.arena[int(batch.read_slot[row])], int(batch.token[row])
        for step in range(int(batch.count[row])):
            text = (*text, token)
            forced = int(batch.forced[step, row])
            token = forced if forced != SAMPLED else token % 3 + 1
            texts.append(text)
            tokens = (*tokens, token)
        return texts, tokens


def engine_with(
    window: int = 20, stepper: PlainStepper | None = None, limits: Limits = UNLIMITED
) -> Engine:
    """Return an engine with an empty session "s"."""
    engine = Engine(stepper or PlainStepper(), Arena(200), limits, max_sessions=4, max_batch=8)
    engine.handle(OpenSession("s", 0, 1, window))
    return engine


def some_tokens(*tokens: int) -> Append:
    return Append(1, np.array(tokens, np.uint32))


def append(engine: Engine, *tokens: int) -> list[Event]:
    return carry_out(engine, some_tokens(*tokens))


def carry_out(engine: Engine, *operations: Operation) -> list[Event]:
    """Submit the operations, and step until the engine is idle."""
    for operation in operations:
        engine.handle(SubmitOperation("s", operation))
    return drained(engine)


def drained(engine: Engine) -> list[Event]:
    events = engine.step()
    while not engine.idle:
        events += engine.step()
        engine.check_integrity()
    return events


def only(kind: type[Kind], events: list[Event]) -> Kind:
    """Return the event of a kind, of which there must be one."""
    (event,) = (event for event in events if isinstance(event, kind))
    return event


def written(events: list[Event]) -> list[int]:
    return [token for event in events if isinstance(event, Written) for token in event.tokens]
