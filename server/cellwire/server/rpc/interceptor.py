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

from cellwire.server.errors import CellwireError, Internal
from cellwire.server.rpc.status import Abortable, abort, status_of
from cellwire.server.rpc.wire import decoded, decoded_stream, decoder

_log = logging.getLogger(__name__)

# Quoted: these classes of gRPC have parameters for type checkers only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Behavior = Callable[..., Any]

_MAKERS: dict[tuple[bool, bool], tuple[str, Callable[..., Handler]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class StatusInterceptor(aio.ServerInterceptor):
    """Ends each call whose handler raises with the error's status, and logs unexpected errors.

    Requests that cannot be read end their call with INVALID_ARGUMENT.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the call's handler, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None:  # there is no method of that name
            return None
        streaming = bool(handler.request_streaming), bool(handler.response_streaming)
        kind, make = _MAKERS[streaming]
        behavior: Behavior = getattr(handler, kind)
        decode: Any = handler.request_deserializer
        read: Callable[[Any], Any] = decoded_stream
        if not handler.request_streaming:
            read, decode = decoded, decoder(decode)
        if inspect.isasyncgenfunction(behavior):
            wrapped = _with_status_of_generator(behavior, read)
        elif inspect.iscoroutinefunction(behavior):
            wrapped = _with_status(behavior, read)
        else:  # only a library's, for a method that it has not implemented
            return handler
        return make(wrapped, decode, handler.response_serializer)


def _with_status(behavior: Behavior, read: Callable[[Any], Any]) -> Behavior:
    """Wrap a handler that returns its answer, or writes its answers to the context."""

    async def handle(request: object, context: Abortable) -> object:
        try:
            return await behavior(read(request), context)
        except Exception as error:  # noqa: BLE001  # the call must end with a status
            status = _status_of(error)
        # The abort raises, too. Inside the except block, or with the request in a variable, both
        # would stay in memory, in a cycle, until the garbage collector runs.
        del request
        return await abort(context, status)

    return handle


def _with_status_of_generator(behavior: Behavior, read: Callable[[Any], Any]) -> Behavior:
    """Wrap a handler that yields its answers."""

    async def handle(request: object, context: Abortable) -> AsyncIterator[object]:
        try:
            async for response in behavior(read(request), context):
                yield response
        except Exception as error:  # noqa: BLE001  # the call must end with a status
            status = _status_of(error)
        else:
            return
        del request  # as above
        await abort(context, status)

    return handle


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
