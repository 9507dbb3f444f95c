"""Daemons as processes on one Redis server: stopped past their leases, killed, and told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.end_to_end.conftest import Served, served
from tests.server.rpc.conftest import Stream
from tests.server.rpc.durable import FIRST, LATER, PROMPT, attach, begin
from tests.server.store.redis_server import RedisServer

from cellwire.v1.generation_pb2 import StreamSessionResponse

PIECE = 100  # tokens
OTHER_ID = "e" * 32


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="always").start()
    yield server
    server.kill()


@pytest.fixture
def daemons(model: Path, redis_server: RedisServer) -> Iterator[list[Served]]:
    arguments = ("--model", str(model), "--threads", "1", "--lease-s", "0.5")
    with redis_server.client() as client:
        client.flushall()
    with ExitStack() as stack:
        yield [
            stack.enter_context(served(*arguments, "--state", redis_server.url)) for _ in range(2)
        ]


async def answers_until_end(stream: Stream) -> list[StreamSessionResponse]:
    responses = []
    try:
        while isinstance(response := await stream.call.read(), StreamSessionResponse):
            responses.append(response)
    except aio.AioRpcError:
        pass
    return responses


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_daemon_that_is_stopped_past_its_lease_goes_on(
    daemons: list[Served], durability: str
) -> None:
    first, second = daemons
    async with (
        aio.insecure_channel(first.address) as to_first,
        aio.insecure_channel(second.address) as to_second,
    ):
        plain = await begin(to_second, None, OTHER_ID)
        expected = await plain.generated(2, 3 * PIECE)
        stale = await begin(to_first, durability)
        text = await stale.generated(2, PIECE)
        await stale.send(3, save={})
        while (saved := await stale.receive()).operation_id != 3:
            pass
        first.process.send_signal(signal.SIGSTOP)
        stream, attached = await attach(to_second, offset=0, takeover=True)
        assert attached.attached.missed.text == PROMPT + text
        text += await stream.generated(4, PIECE)
        await stale.send(5, append={"text": "never safe"})
        first.process.send_signal(signal.SIGCONT)
        for response in await answers_until_end(stale):
            assert durability == LATER
            assert response.safe.revision == saved.safe.revision
        assert (await stale.end())[0] is grpc.StatusCode.ABORTED
        stream, attached = await attach(to_first, offset=0, takeover=True)
        assert attached.attached.missed.text == PROMPT + text
        assert text + await stream.generated(6, PIECE) == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_a_daemon_had_goes_on_at_another(
    daemons: list[Served], number: signal.Signals
) -> None:
    first, second = daemons
    async with (
        aio.insecure_channel(first.address) as to_first,
        aio.insecure_channel(second.address) as to_second,
    ):
        stream = await begin(to_first, FIRST)
        text = await stream.generated(2, PIECE)
        first.stop(number)
        assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE
        _, attached = await attach(to_second, offset=0)
        assert attached.attached.missed.text == PROMPT + text
