"""grpc.health.v1: whether the daemon serves, and a watch that ends when it no longer does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cellwire.server.errors import NotFound, Unavailable
from cellwire.server.rpc.wire import write

_Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):
    """Reports SERVING for each service until `drain`, and NOT_SERVING from then on.

    A service can also fail for a time, and be well again.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are full names; the empty one stands for the daemon as a whole."""
        self._services = frozenset(services)
        self._failing: set[str] = set()
        self._draining = False
        self._news = asyncio.Event()  # set when something changes, and then another one

    def drain(self) -> None:
        """Report NOT_SERVING, and end every watch after it."""
        self._draining = True
        self._wake_watches()

    def note(self, service: str, *, well: bool) -> None:
        """Report from now on that a service is well, or that it fails."""
        if well:
            self._failing.discard(service)
        else:
            self._failing.add(service)
        self._wake_watches()

    def _wake_watches(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        """Return a service's status; NotFound if there is no such service."""
        if request.service not in self._services:
            raise NotFound(f"this daemon has no service {request.service!r}")
        return self._response(request.service)

    # grpc.aio also takes a coroutine that writes its answers; the stubs do not know that.
    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> None:
        """Write a service's status, now and when it changes, until the daemon drains: UNAVAILABLE.

        The library's own watch has no end: the server's stop cuts it, with a traceback.
        """
        written = None
        while True:
            news, draining = self._news, self._draining
            response = self._response(request.service)
            if draining or response != written:
                await write(context, response)
                written = response
            if draining:
                raise Unavailable
            if news is self._news:
                await news.wait()

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        serves = not self._draining and service not in self._failing
        return _Response(status=_Response.SERVING if serves else _Response.NOT_SERVING)
