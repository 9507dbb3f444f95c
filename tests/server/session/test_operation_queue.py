"""The queue of a session: bounded in operations and tokens, and ended by a close."""

from __future__ import annotations

import numpy as np
from tests.server.one_session import append, carry_out, engine_with, only

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import SubmitOperation
from cellwire.server.errors import ResourceExhausted
from cellwire.server.session.events import Closed, Rejected
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Close, Generate, Score


def test_the_tokens_of_a_waiting_score_count() -> None:
    engine = engine_with(limits=Limits(waiting_tokens=5))
    append(engine, 1)
    engine.handle(SubmitOperation("s", Generate(2, 1, Sampling())))
    engine.handle(SubmitOperation("s", Score(3, np.zeros(5, np.uint32))))
    engine.handle(SubmitOperation("s", Score(4, np.zeros(1, np.uint32))))
    refused = only(Rejected, engine.take_events())
    assert refused.operation_id == 4
    assert isinstance(refused.error, ResourceExhausted)


def test_a_close_is_queued_even_if_the_queue_is_full() -> None:
    engine = engine_with(limits=Limits(waiting_operations=2))
    append(engine, 1)
    generates = [Generate(operation_id, 1, Sampling()) for operation_id in (2, 3, 4, 5)]
    events = carry_out(engine, *generates, Close(6))
    assert only(Rejected, events).operation_id == 5  # the first runs, two wait
    assert isinstance(events[-1], Closed)
