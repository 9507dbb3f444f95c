"""The one place where errors of handlers become statuses of calls."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.rpc.status_pb2 import Status
from grpc import aio

from cellwire.server.errors import CellwireError, Internal, Unavailable
from cellwire.server.rpc.calls import Calls
from cellwire.server.rpc.status import abort, status_of
from cellwire.server.rpc.wire import decoded_stream, only_request, write, writes_its_response

_log = logging.getLogger(__name__)

# Quoted: these classes of gRPC have parameters for type checkers only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Behavior = Callable[..., Any]
Requests = AsyncIterator[Any]
Context: TypeAlias = "aio.ServicerContext[Any, Any]"


class StatusInterceptor(aio.ServerInterceptor):
    """Ends each call whose handler raises with the error's status, and logs unexpected errors.

    Requests that cannot be read end their call with INVALID_ARGUMENT. On the wire, a call with one
    request is a stream of one message, and is received as such: gRPC itself would wait without end
    for a message that does not come.
    """

    def __init__(self, calls: Calls) -> None:
        """Count the calls in `calls`, which cuts those that are left when the daemon stops."""
        self._calls = calls

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the call's handler, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None:  # there is no method of that name
            return None
        requests = "stream" if handler.request_streaming else "unary"
        responses = "stream" if handler.response_streaming else "unary"
        behavior: Behavior = getattr(handler, f"{requests}_{responses}")
        if inspect.isasyncgenfunction(behavior):
            behavior = _writing(behavior)
        elif not inspect.iscoroutinefunction(behavior):
            return handler  # only a library's, for a method that it has not implemented
        make: Callable[..., Handler] = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming or writes_its_response(behavior)
            else grpc.stream_unary_rpc_method_handler
        )
        serve = self._streaming(behavior) if handler.request_streaming else self._unary(behavior)
        return make(
            self._with_status(serve), handler.request_deserializer, handler.response_serializer
        )

    def _streaming(self, behavior: Behavior) -> Behavior:
        async def serve(requests: Requests, context: Context) -> object:
            return await behavior(decoded_stream(requests), context)

        return serve

    def _unary(self, behavior: Behavior) -> Behavior:
        async def receive(requests: Requests, context: Context) -> object:
            async with self._calls.receiving.taken(context.peer()):
                return await only_request(requests)

        async def serve(requests: Requests, context: Context) -> object:
            return await behavior(await receive(requests, context), context)

        return serve

    def _with_status(self, serve: Behavior) -> Behavior:
        """Wrap a handler that returns its answer, or writes its answers to the context."""

        async def handle(requests: Requests, context: Context) -> object:
            try:
                with self._calls.entered():
                    return await serve(requests, context)
            except asyncio.CancelledError:
                if not self._calls.were_cut:  # the client has gone
                    raise
                status = status_of(Unavailable())
            except Exception as error:  # noqa: BLE001  # the call must end with a status
                status = _status_of(error)
            # The abort raises, too. Inside the except block, or with the request in a variable,
            # both would stay in memory, in a cycle, until the garbage collector runs.
            del requests
            return await abort(context, status)

        return handle


def _writing(behavior: Behavior) -> Behavior:
    """Return a handler that writes what another yields."""

    async def write_all(request: object, context: Context) -> None:
        async for response in behavior(request, context):
            await write(context, response)

    return write_all


def _status_of(error: Exception) -> Status:
    """Return an error's status; raise again what has ended its call already."""
    if isinstance(error, aio.AbortError):
        raise error
    if isinstance(error, aio.InternalError):  # a write after the client has gone
        raise asyncio.CancelledError from error
    if isinstance(error, CellwireError):
        # An error may be in a variable of a frame in its own traceback: a cycle, too.
        error.__traceback__ = None
        return status_of(error)
    _log.error("a handler failed", exc_info=error)
    return status_of(Internal("the daemon failed; its log says how"))
