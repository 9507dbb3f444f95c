"""Calls without a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from cellwire.client.errors import Cancelled, Internal
from cellwire.client.values import Finished, FinishReason, Piece, Usage
from cellwire.client.wire.answers import finished_of, piece_of
from cellwire.client.wire.own_process import OwnProcess
from cellwire.client.wire.status import error_of_rpc
from cellwire.v1.generation_pb2 import GenerateRequest, GenerateResponse

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub

_Response = TypeVar("_Response")
_Call = TypeVar("_Call")


async def response_of(call: Awaitable[_Response]) -> _Response:
    """Return the response of a call, or raise the CellwireError for its status."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of_rpc(error) from None
    except asyncio.CancelledError:
        # grpc.aio raises this in a task that awaits a cancelled call, even if the task itself has
        # not been cancelled.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise client_closed() from None


def started(start: Callable[[], _Call]) -> _Call:
    """Start a call; Cancelled if its client has been closed."""
    try:
        return start()
    except grpc.aio.UsageError:
        raise client_closed() from None


def client_closed() -> Cancelled:
    """Return the error of a call whose client has been closed here."""
    return Cancelled("the client is closed", reason="CLIENT_CLOSED")


class CallSource:
    """The pieces of one Generate call. The first read starts the call.

    A response is received only when it is read, so a slow reader pauses the daemon.
    """

    def __init__(self, stub: GenerationServiceAsyncStub, request: GenerateRequest) -> None:
        self._process = OwnProcess()
        self._stub = stub
        self._request = request
        self._call: grpc.aio.UnaryStreamCall[GenerateRequest, GenerateResponse] | None = None
        self._responses: AsyncIterator[GenerateResponse]
        self._begin = self._end = 0
        self._cancelled = False

    async def read(self) -> Piece | Finished:
        """Return the next piece, or the end."""
        self._process.check()
        if self._cancelled:
            return self._finished_here()
        if self._call is None:
            self._call = started(lambda: self._stub.Generate(self._request))
            self._responses = aiter(self._call)
        try:
            return self._receive(await response_of(anext(self._responses)))
        except StopAsyncIteration:
            raise Internal("the daemon ended the call without finished") from None
        except Cancelled:
            if self._cancelled:
                return self._finished_here()
            raise

    def cancel(self) -> None:
        """End the call."""
        self._cancelled = True
        if self._call is not None and not self._process.left:
            self._call.cancel()

    abandon = cancel

    def _receive(self, response: GenerateResponse) -> Piece | Finished:
        match response.WhichOneof("answer"):
            case "chunk":
                piece = piece_of(response.chunk)
                self._begin = self._begin or piece.offset
                self._end = piece.end_offset
                return piece
            case "finished":
                return finished_of(response.finished)
            case _:
                raise Internal("the daemon sent an answer that this client does not know")

    def _finished_here(self) -> Finished:
        """Return the end of a cancelled call: the daemon sends none, so it tells what was read."""
        usage = Usage(appended_tokens=self._begin, generated_tokens=self._end - self._begin)
        return Finished(reason=FinishReason.CANCELLED, offset=self._end, usage=usage)
