"""A session whose next operation replays tokens, and the same session without a rewind."""

from __future__ import annotations

import numpy as np
from tests.server.one_session import (
    append,
    carry_out,
    engine_with,
)
from tests.server.plain_stepper import PlainStepper

from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.session.events import (
    Event,
    Written,
)
from cellwire.server.session.operations import (
    Append,
    Classify,
    Complete,
    Generate,
    Operation,
    Rewind,
    Score,
)


class Recorder(PlainStepper):
    """Counts the steps of all rows, and raises `error` in the next run, if it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.row_steps = 0
        self.error: NotCompiled | StepFailed | None = None

    def step(self, batch: StepBatch) -> StepResult:
        error, self.error = self.error, None
        if error:
            raise error
        self.row_steps += int(batch.count.sum())
        return super().step(batch)


TEXT = tuple(offset * 5 % 7 for offset in range(40))
LENGTH = 31  # after the rewind; the state of offset 16 is the newest one left
REPLAYED = 14  # from the 17th token on, all but the last


def rewound_engine(stepper: PlainStepper | None = None) -> Engine:
    """Return an engine whose session "s" lacks `REPLAYED` tokens in its newest state."""
    engine = engine_with(stepper=stepper)
    append(engine, *TEXT)
    carry_out(engine, Rewind(2, offset=LENGTH))
    return engine


def fresh_engine(stepper: PlainStepper | None = None) -> Engine:
    """Return an engine whose session "s" has the same text, without a rewind."""
    engine = engine_with(stepper=stepper)
    append(engine, *TEXT[:LENGTH])
    return engine


def operations() -> list[Operation]:
    return [
        Generate(3, 20, Sampling()),
        Generate(3, 5, Sampling(repetition_penalty=1.5)),
        Generate(3, 5, Sampling(), alternatives=2),
        Append(3, np.array(TEXT, np.uint32)),
        Score(3, np.array(TEXT[:9], np.uint32)),
        Complete(3, 3, 2, 6),
        Classify(3),
    ]


def plain(events: list[Event]) -> list[object]:
    """Return events in a form that compares by value, with the text joined."""
    parts = [e for e in events if isinstance(e, Written)]
    text = [token for part in parts for token in part.tokens]
    logs = [log for part in parts for log in part.log_probabilities]
    return [text, logs, *(repr(e) for e in events if not isinstance(e, Written))]
