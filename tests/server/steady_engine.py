"""An engine that never stops, to compare one with that does."""

from __future__ import annotations

from collections.abc import Sequence

from tests.server.event_texts import EventTexts

from cellwire.server.batch.stepper import Stepper
from cellwire.server.engine.commands import (
    SubmitOperation,
    SupplySnapshot,
)
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotFound
from cellwire.server.session.events import (
    Appended,
    Checkpointed,
    Discarded,
    Event,
    Scored,
    SnapshotNeeded,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Operation,
)
from cellwire.server.state.arena import Arena
from cellwire.server.state.snapshot import SessionSnapshot

SLOTS = 400
UNLIMITED = Limits(read_ahead_tokens=1_000_000)


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


def carry_out(engine: Engine, session_id: str, operation: Operation) -> list[Event]:
    engine.handle(SubmitOperation(session_id, operation))
    events = engine.step()
    while not engine.idle:
        events += engine.step()
    return events


def logs(events: Sequence[Event]) -> list[float]:
    found: list[float] = []
    for event in events:
        if isinstance(event, Written):
            found += event.log_probabilities
        elif isinstance(event, Appended | Scored):
            found.append(event.log_probability)
    return found
