"""The connection of a client: its channel, with the stubs for the daemon's services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellwire.client.errors import Unreachable
from cellwire.client.wire.channel import open_channel
from cellwire.client.wire.own_process import OwnProcess, forked
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

if TYPE_CHECKING:
    import grpc.aio

_first_use: list[OwnProcess] = []  # gRPC's threads are those of the process that used it first


class Connection:
    """A channel that is connected, and its stubs. Of the process that opened it, and no other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.process = OwnProcess()
        self.generations = GenerationServiceStub(channel)
        self.sessions = SessionsServiceStub(channel)
        self.models = ModelsServiceStub(channel)
        self._channel = channel

    async def aclose(self) -> None:
        """Close the channel; in a forked process, where that would wait for ever, do nothing."""
        if not self.process.left:
            await self._channel.close()


async def open_connection(target: str) -> Connection:
    """Connect to a daemon; raises as `open_channel`, and FailedPrecondition after a fork."""
    if not _first_use:
        _first_use.append(OwnProcess())
    try:
        return Connection(await open_channel(target))
    except Unreachable:
        if _first_use[0].left:
            raise forked() from None
        raise
