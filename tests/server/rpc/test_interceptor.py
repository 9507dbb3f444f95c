"""Errors of handlers: every kind of call ends with a status, and holds on to nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, NoReturn

import grpc
import pytest
from grpc import aio

from cellwire.server.errors import NotFound
from cellwire.server.rpc.calls import Calls
from cellwire.server.rpc.interceptor import StatusInterceptor

Raise = Callable[[], Exception]


class Context:
    """The context of a call; notes its status."""

    status: grpc.Status | None = None

    def peer(self) -> str:
        return "a peer"

    async def write(self, _: object) -> None:
        pass

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        self.status = status
        raise aio.AbortError


class Details(grpc.HandlerCallDetails):
    method = "a method"
    invocation_metadata = ()


class Request:
    """A request that can be watched."""


async def wrapped(handler: Any) -> Any:  # noqa: ANN401  # gRPC's handlers differ by kind
    async def found(_: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        return handler

    return await StatusInterceptor(Calls(most=1)).intercept_service(found, Details())


async def requests(request: object) -> AsyncGenerator[object, None]:
    yield request


def handler(kind: str, error: Raise) -> Any:  # noqa: ANN401
    async def returns(request: Request, _: Context) -> None:
        assert request is not None
        raise error()

    async def yields(request: Request, _: Context) -> AsyncIterator[None]:
        yield None
        assert request is not None
        raise error()

    behavior = yields if kind == "generator" else returns
    kind = "unary_stream" if kind == "generator" else kind
    return getattr(grpc, f"{kind}_rpc_method_handler")(behavior, bytes, bytes)


async def ended(kind: str, request: object, error: Raise) -> Context:
    """Serve a call whose handler raises an error; return its context."""
    context = Context()
    made = await wrapped(handler(kind, error))
    with pytest.raises(aio.AbortError):
        await served(made, request, context)
    return context


async def served(made: Any, request: object, context: Context) -> None:  # noqa: ANN401
    """Serve a call as gRPC does: as one of a stream of requests, whatever its kind."""
    await (made.stream_unary or made.stream_stream)(requests(request), context)


KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream", "generator"]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_call_ends_with_the_status(kind: str) -> None:
    context = await ended(kind, Request(), lambda: NotFound("nothing"))
    assert context.status is not None
    assert (context.status.code, context.status.details) == (grpc.StatusCode.NOT_FOUND, "nothing")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unexpected_error_is_internal_and_logged(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = await ended(kind, Request(), lambda: ZeroDivisionError("a secret"))
    assert context.status is not None
    assert context.status.code is grpc.StatusCode.INTERNAL
    assert "secret" not in context.status.details
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [True, False])
async def test_a_failed_call_leaves_no_cycle(kind: str, stored: bool) -> None:  # noqa: FBT001
    """Its request is freed at once, even if the error lives on, and was raised before."""
    error = NotFound("nothing")
    request = Request()
    alive = weakref.ref(request)
    gc.disable()
    try:
        await ended(kind, request, lambda: error if stored else NotFound("nothing"))
        del request
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_abort_knows_no_request(kind: str) -> None:
    """gRPC may keep the error that an abort raises, with the frames it went through."""
    made = await wrapped(handler(kind, lambda: NotFound("nothing")))
    with pytest.raises(aio.AbortError) as caught:
        await served(made, Request(), Context())
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb)]
    (handle,) = [frame for frame in frames if frame.f_code.co_name == "handle"]
    assert not [v for v in handle.f_locals.values() if isinstance(v, Request)]


async def test_an_abort_of_a_handler_itself_is_left_alone() -> None:
    context = await ended("unary_unary", Request(), aio.AbortError)
    assert context.status is None


async def test_a_client_that_has_gone_needs_no_status() -> None:
    class Gone(Context):
        async def abort_with_status(self, _: grpc.Status) -> NoReturn:
            raise aio.InternalError

    made = await wrapped(handler("unary_unary", lambda: NotFound("nothing")))
    with pytest.raises(asyncio.CancelledError):
        await served(made, Request(), Gone())


async def test_an_unknown_method_stays_unknown() -> None:
    assert await wrapped(None) is None
