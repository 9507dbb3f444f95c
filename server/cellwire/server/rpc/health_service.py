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
    """Reports SERVING for each service until `drain`, and NOT_SERVING from then on."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are full names; the empty one stands for the daemon as a whole."""
        self._services = frozenset(services)
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Report NOT_SERVING, and end every watch after it."""
        self._draining.set()

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
        """Write a service's status now and when the daemon drains; then end with UNAVAILABLE.

        The library's own watch has no end: the server's stop cuts it, with a traceback.
        """
        await write(context, self._response(request.service))
        if not self._draining.is_set():
            await self._draining.wait()
            await write(context, self._response(request.service))
        raise Unavailable

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        draining = self._draining.is_set()
        return _Response(status=_Response.NOT_SERVING if draining else _Response.SERVING)
