"""Forks that wait for other operations, and forks whose caller has gone."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, OpenStream, Stream, answer_of, holding_up, until

from cellwire.server.rpc.daemon import Daemon
from cellwire.v1.sessions_pb2 import DeleteSessionRequest, ForkSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

GENERATE, FORK = 5, 6


async def busy(stream: Stream) -> str:
    """Open a session whose next operations wait until GENERATE is cancelled; return its id."""
    session_id = (await stream.open(seed=1)).opened.session_id
    await stream.ask(append={"text": "hello "})
    await stream.send(GENERATE, generate={"max_tokens": 1_000_000})
    return session_id


async def engine_has(daemon: Daemon, sessions: int) -> None:
    (model,) = daemon.registry
    async with asyncio.timeout(GUARD_S):
        while await answer_of(model, lambda engine: engine.stats().sessions) != sessions:
            pass


@pytest.mark.parametrize(
    ("fork", "rejected"),
    [
        ((FORK, {}), (FORK, {"rewind": {"tokens": 1}})),
        ((0, {}), (0, {"cancel": {"operation_id": 999}})),
    ],
)
async def test_a_fork_survives_a_rejection_under_its_id(
    open_stream: OpenStream, fork: tuple[int, Any], rejected: tuple[int, Any]
) -> None:
    stream, child = open_stream(), open_stream()
    await busy(stream)
    await stream.send(fork[0], fork=fork[1])
    await stream.send(rejected[0], **rejected[1])
    await stream.until("rejected")
    await stream.send(7, cancel={"operation_id": GENERATE})
    forked = (await stream.until("forked"))[-1].forked
    await child.send(0, attach={"session_id": forked.session_id})
    assert (await child.receive()).attached.offset == forked.offset
    await child.ask(close={})


async def test_a_fork_that_waits_is_no_session_yet(open_stream: OpenStream, daemon: Daemon) -> None:
    """It cannot expire before it exists, and costs nothing if it never does."""
    stream = open_stream()
    await busy(stream)
    for number in range(10, 30, 2):
        await stream.send(number, fork={})
        await stream.send(number + 1, cancel={"operation_id": number})
        await stream.until("cancelled")
    await stream.send(FORK, fork={})
    await stream.send(7)
    await stream.until("rejected")
    assert len(daemon.sessions) == 1


async def test_a_fork_whose_parent_is_deleted_meanwhile_is_closed(
    open_stream: OpenStream, channel: aio.Channel, daemon: Daemon
) -> None:
    stream = open_stream()
    session_id = (await stream.open(seed=1)).opened.session_id
    (model,) = daemon.registry
    made: list[bool] = []
    with holding_up(model):
        await stream.send(FORK, fork={})
        await stream.send(7)
        await stream.until("rejected")  # by the stream, which has passed on the fork before
        model.loop.call(lambda engine: made.append(engine.stats().sessions == 2))
        request = DeleteSessionRequest(session_id=session_id)
        await SessionsServiceStub(channel).DeleteSession(request)
    assert await stream.call.code() is grpc.StatusCode.ABORTED
    await engine_has(daemon, 0)
    assert made == [True]


async def test_a_fork_from_outside_is_closed_if_its_caller_has_gone(
    open_stream: OpenStream, channel: aio.Channel, daemon: Daemon
) -> None:
    session_id = (await open_stream().open(seed=1)).opened.session_id
    (model,) = daemon.registry
    with holding_up(model):
        call = SessionsServiceStub(channel).ForkSession(ForkSessionRequest(session_id=session_id))
        await until(lambda: len(daemon.sessions) == 2)
        call.cancel()
        await until(lambda: len(daemon.sessions) == 1)
    await engine_has(daemon, 1)
