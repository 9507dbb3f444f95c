"""One StreamSession call, with the stubs alone."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc import aio
from tests.crash.stub import Stub
from tests.crash.violation import Violation

from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.operations_pb2 import Attach, Close, Open

GUARD_S = 30.0
# What grpc.aio says of a write to a call that has just ended.
_BROKEN = "Internal error from Core"


class Lost(Exception):
    """The stream has ended, and not because its client closed it."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code


class Stream:
    """Messages to a session and from it; Lost when the call has ended."""

    _broken = False
    _writer: asyncio.Task[Any] | None = None  # that waits to write

    def __init__(self, stub: Stub) -> None:
        self._call = stub.StreamSession()

    async def send(self, request: StreamSessionRequest) -> None:
        self._writer = writer = asyncio.current_task()
        try:
            await self._call.write(request)
        except (aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._lost() from None
        except asyncio.CancelledError:
            if self._broken and writer is not None:
                writer.uncancel()
            self._raise_if_broken()
            raise
        finally:
            self._writer = None

    async def receive(self) -> StreamSessionResponse:
        """Wait for a message; Violation if none comes."""
        try:
            async with asyncio.timeout(GUARD_S):
                response = await self._call.read()
        except aio.AioRpcError:
            raise await self._lost() from None
        except asyncio.CancelledError:
            self._raise_if_broken()
            raise
        except TimeoutError:
            raise Violation(f"no answer for {GUARD_S:g} s") from None
        if isinstance(response, StreamSessionResponse):
            return response
        raise await self._lost()

    async def ask(self, request: StreamSessionRequest) -> list[StreamSessionResponse]:
        """Send an operation, and return everything up to its final answer."""
        await self.send(request)
        responses = [await self.receive()]
        while responses[-1].WhichOneof("answer") in {"chunk", "completing"}:
            responses.append(await self.receive())
        return responses

    async def open(self, **arguments: object) -> StreamSessionResponse:
        message = StreamSessionRequest(operation_id=1, open=Open(**arguments))  # type: ignore[arg-type]
        return (await self.ask(message))[-1]

    async def attach(self, **arguments: object) -> StreamSessionResponse:
        message = StreamSessionRequest(operation_id=1, attach=Attach(**arguments))  # type: ignore[arg-type]
        return (await self.ask(message))[-1]

    async def close(self) -> None:
        """Delete the session, and end."""
        await self.ask(StreamSessionRequest(operation_id=1, close=Close()))

    async def half_close(self) -> None:
        try:
            await self._call.done_writing()
        except (aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._lost() from None
        except asyncio.CancelledError:
            self._raise_if_broken()
            raise

    def cancel(self) -> None:
        """Break the stream, also for who waits for it."""
        self._broken = True
        self._call.cancel()
        if self._writer is not None:  # a write to a call that has not begun would wait for ever
            self._writer.cancel()

    def _raise_if_broken(self) -> None:
        # For a call that is cancelled, grpc.aio raises the same as for a task that is.
        if self._broken:
            raise Lost(grpc.StatusCode.CANCELLED, "broken by its client") from None

    async def _lost(self) -> Lost:
        code, details = await self._call.code(), await self._call.details() or ""
        if details == _BROKEN:
            code = grpc.StatusCode.UNAVAILABLE
        return Lost(code, details)
