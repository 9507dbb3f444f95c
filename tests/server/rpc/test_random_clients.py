"""Random clients over a real socket, some of which vanish.

After any operations, a session must continue exactly like a fresh one with the same text.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from grpc import aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.rpc.conftest import GUARD_S, answer_of, running
from tests.server.rpc.random_client import (
    SCRIPTS,
    Append,
    Cancel,
    Client,
    Fork,
    Generate,
    Rewind,
    Step,
    Vanish,
)

from cellwire.server.engine.engine import Engine
from cellwire.server.host.config import Config
from cellwire.server.session.operation_queue import Limits


async def run(model: Path, scripts: list[list[Step]]) -> None:
    """Run the scripts at once, each with its client, on one daemon."""
    config = Config(
        listen="127.0.0.1:0",
        models=(model,),
        sessions=2 * len(scripts),
        threads=1,
        limits=Limits(read_ahead_tokens=100),
    )
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        async with asyncio.timeout(GUARD_S):
            await asyncio.gather(*(Client(channel).run(script) for script in scripts))
        (served,) = daemon.registry
        assert await answer_of(served, Engine.check_integrity) is None
        assert await answer_of(served, lambda engine: engine.stats().reserved_slots) == 0


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # each example starts a daemon
)
@given(scripts=st.lists(SCRIPTS, min_size=1, max_size=5))
def test_random_clients_each_have_their_own_text(model: Path, scripts: list[list[Step]]) -> None:
    asyncio.run(run(model, scripts))


def test_many_clients_at_once_each_have_their_own_text(model: Path) -> None:
    script: list[Step] = [Generate(20), Vanish(200, reads=True), Rewind(7), Fork(), Cancel(1)]
    scripts = [
        [Append("hello"[: i % 5 + 1]), *script[i % 5 :], *script[: i % 5]] for i in range(12)
    ]
    asyncio.run(run(model, scripts))
