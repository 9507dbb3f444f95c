"""Operations cancelled and clients gone at random moments leave nothing behind.

Slots, sessions and outboxes are checked again when the daemon stops; see `running` in conftest.py.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from google.protobuf.duration_pb2 import Duration
from tests.server.rpc.conftest import OpenStream, Stream, answer_of

from cellwire.server.engine.engine import Engine
from cellwire.server.rpc.daemon import Daemon

OPERATIONS = 1_000
CLIENTS = 20


def long_operation(dice: random.Random) -> dict[str, Any]:
    return dice.choice(
        [
            {"generate": {"max_tokens": 100_000}},
            {"generate": {"max_tokens": 100_000, "stop_strings": ["世é"]}},
            {"append": {"text": "hello world " * 1_000}},
            {"score": {"text": "hello world " * 1_000}},
            {"complete": {"beam_width": 8, "max_tokens": 100, "partial_results": True}},
        ]
    )


async def cancel_at_random(stream: Stream, seed: int, operations: int) -> int:
    """Start operations, and cancel each after some answers; return how many were cancelled."""
    dice = random.Random(seed)
    await stream.open(seed=seed)
    await stream.ask(append={"text": "hello"})
    cancelled = 0
    for number in range(10, 10 + 2 * operations, 2):
        operation = long_operation(dice)
        await stream.send(number, **operation)
        if "generate" in operation and dice.random() < 0.3:
            await stream.receive()
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        await stream.send(number + 1, cancel={"operation_id": number})
        while (answer := await stream.receive()).operation_id != number + 1:
            pass
        cancelled += answer.WhichOneof("answer") == "cancelled"
    return cancelled


async def test_a_storm_of_cancels_leaves_nothing(open_stream: OpenStream, daemon: Daemon) -> None:
    streams = [open_stream() for _ in range(CLIENTS)]
    each = OPERATIONS // CLIENTS
    counts = await asyncio.gather(
        *(cancel_at_random(stream, seed, each) for seed, stream in enumerate(streams))
    )
    assert sum(counts) > OPERATIONS // 2
    (model,) = daemon.registry
    assert await answer_of(model, lambda engine: engine.idle)
    assert await answer_of(model, Engine.check_integrity) is None
    for stream in streams:
        await stream.ask(close={})
        await stream.end()
    assert await answer_of(model, lambda engine: engine.stats().reserved_slots) == 0
    assert not daemon.generation.streams


async def test_a_storm_of_vanishing_clients_leaves_nothing(
    open_stream: OpenStream, daemon: Daemon
) -> None:
    dice = random.Random(1)

    async def vanish(seed: int) -> None:
        stream = open_stream()
        await stream.open(seed=seed, on_disconnect=seed % 5, idle_timeout=Duration(seconds=600))
        await stream.ask(append={"text": "hello"})
        for number in range(10, 10 + dice.randrange(1, 4)):
            await stream.send(number, **long_operation(dice))
        for _ in range(dice.randrange(5)):
            await asyncio.sleep(0)
        stream.call.cancel()

    for round_of_clients in range(10):
        await asyncio.gather(*(vanish(round_of_clients * 10 + i) for i in range(10)))
        (model,) = daemon.registry
        assert await answer_of(model, Engine.check_integrity) is None
        for live in daemon.sessions:
            live.end()
