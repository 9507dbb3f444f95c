"""Streams whose client breaks them, is silent, or has gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import OpenStream, is_there, until

from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse

PAUSE = operations_pb2.ON_DISCONNECT_PAUSE
UNSPECIFIED = operations_pb2.ON_DISCONNECT_UNSPECIFIED
NOT_UTF_8 = b"\x1a\x04\x0a\x02\xff\xfe"
TOO_LONG = StreamSessionRequest(
    append=operations_pb2.Append(text="a" * 17_000_000)
).SerializeToString()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (NOT_UTF_8, grpc.StatusCode.INVALID_ARGUMENT),
        (TOO_LONG, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_an_unreadable_message_breaks_its_stream_only(
    channel: aio.Channel,
    daemon: Daemon,
    message: bytes,
    code: grpc.StatusCode,
    kept: bool,  # noqa: FBT001
) -> None:
    method: Any = channel.stream_stream("/cellwire.v1.GenerationService/StreamSession")
    call = method()
    wanted = operations_pb2.Open(on_disconnect=PAUSE if kept else UNSPECIFIED)
    await call.write(StreamSessionRequest(open=wanted).SerializeToString())
    opened = StreamSessionResponse.FromString(await call.read()).opened
    await call.write(message)
    assert await call.code() is code
    await until(lambda: not daemon.generation.streams)
    assert await is_there(channel, opened.session_id) is kept


class Gone:
    """The context of a call whose client has gone, which the next write finds out."""

    async def write(self, _: StreamSessionResponse) -> None:
        raise aio.InternalError('Failed "execute_batch"')


async def test_a_client_that_goes_during_a_write_is_not_logged(
    open_stream: OpenStream, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    stream = open_stream()
    await stream.open()
    (served,) = daemon.generation.streams
    served._context = Gone()  # type: ignore[assignment]
    await stream.send(1, append={"text": "hello"})
    await until(lambda: not daemon.generation.streams)
    assert len(daemon.sessions) == 0
    stream.call.cancel()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stream_without_a_message_does_not_delay_the_end(
    open_stream: OpenStream, daemon: Daemon
) -> None:
    silent = open_stream()
    await until(lambda: daemon.generation.beginning_streams == 1)
    stopping = asyncio.create_task(daemon.stop())
    assert await silent.end() == (grpc.StatusCode.UNAVAILABLE, "the daemon is shutting down")
    await stopping
