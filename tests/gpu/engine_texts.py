"""A day of twelve sessions in an engine."""

from __future__ import annotations

import numpy as np

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import CloseSession, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.session.events import Closed, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Generate, Rewind

SESSIONS = 12
LIMITS = Limits(read_ahead_tokens=1_000)


def written(engine: Engine, *, together: bool = False) -> dict[str, list[int]]:
    """Let every session read, write, go back, be completed, and write again; what they wrote.

    One session works after the other, or all of them do together.
    """
    events: list[Event] = []
    for n in range(SESSIONS):
        engine.handle(OpenSession(str(n), 0, n, 20))
    for operation in (
        lambda n: Append(1, np.arange(n + 2, dtype=np.uint32) % 10),
        lambda n: Generate(2, 40, Sampling(seed=n)),
        lambda _: Rewind(3, tokens=7),
        lambda _: Complete(4, 3, 2, 4),
        lambda n: Generate(5, 9, Sampling(seed=n)),
    ):
        for n in range(SESSIONS):
            engine.handle(SubmitOperation(str(n), operation(n)))
            while not (together or engine.idle):
                events += engine.step()
        while not engine.idle:
            events += engine.step()
    engine.check_integrity()
    assert not any(isinstance(event, Rejected | Closed) for event in events)
    texts: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Written):
            texts.setdefault(event.session_id, []).extend(event.tokens)
    for n in range(SESSIONS):
        engine.handle(CloseSession(str(n)))
    return texts
