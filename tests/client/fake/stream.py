"""A stream of the fake daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from tests.client.fake.refused import Refused

from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse

if TYPE_CHECKING:
    _Context = grpc.aio.ServicerContext[StreamSessionRequest, StreamSessionResponse]


class FakeStream:
    """Answers on their way to a client, which may pause them."""

    def __init__(self, context: _Context) -> None:
        self._answers: asyncio.Queue[StreamSessionResponse | None] = asyncio.Queue(1)
        self._broken: Refused | None = None
        self._writer = asyncio.create_task(self._write(context))

    async def ended(self) -> None:
        """Wait until all is written; raises the refusal that breaks the stream."""
        await asyncio.wait([self._writer])
        if self._broken is not None:
            raise self._broken

    async def send(self, answer: StreamSessionResponse | None) -> None:
        await self._answers.put(answer)

    def break_off(self, code: grpc.StatusCode, message: str) -> None:
        self._broken = Refused(code, message)
        self.let_go()

    def let_go(self) -> None:
        """Stop writing to a client that is gone."""
        self._writer.cancel()
        while not self._answers.empty():
            self._answers.get_nowait()

    async def _write(self, context: _Context) -> None:
        while (answer := await self._answers.get()) is not None:
            await context.write(answer)
