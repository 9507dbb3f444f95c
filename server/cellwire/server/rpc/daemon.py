"""The daemon: models, services and the port, from its start until it is drained."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cellwire.server.batch.limits import MAX_MESSAGE_BYTES
from cellwire.server.host.config import Config
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.placement import place
from cellwire.server.host.registry import Registry
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.rpc.address import bind
from cellwire.server.rpc.generation_service import GenerationService
from cellwire.server.rpc.interceptor import StatusInterceptor
from cellwire.server.rpc.models_service import ModelsService
from cellwire.server.rpc.sessions_service import SessionsService
from cellwire.server.session.events import Event
from cellwire.v1 import generation_pb2, models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import add_GenerationServiceServicer_to_server
from cellwire.v1.models_pb2_grpc import add_ModelsServiceServicer_to_server
from cellwire.v1.sessions_pb2_grpc import add_SessionsServiceServicer_to_server

_SERVICES = (
    "",  # the daemon as a whole
    generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelsService"].full_name,
    sessions_pb2.DESCRIPTOR.services_by_name["SessionsService"].full_name,
)

_LAST_WRITES_S = 1.0


class Daemon:
    """A running daemon; leaving its context drains it.

    `address` is where it listens, with the port that was assigned. `crashed` holds the error if an
    engine's thread failed, which is a fault of the daemon.
    """

    def __init__(self, config: Config) -> None:
        """Choose the device to run on; NoCuda if it is configured and cannot be used."""
        self.placement = place(config.provider, config.device)
        self.address = config.listen
        self.crashed: asyncio.Future[BaseException]
        self.registry: Registry
        self._config = config
        self._stopped = False

    async def __aenter__(self) -> Self:
        """Load the models and listen; BadModel, CannotListen."""
        self._loop = asyncio.get_running_loop()
        self.crashed = self._loop.create_future()
        self.registry = Registry(self._config, self.placement, self._deliver, self._on_crash)
        self.sessions = SessionDirectory(self.registry)
        self.generation = GenerationService(self.sessions, self._config.limits)
        self._health = health.aio.HealthServicer()
        self._server = self._make_server()
        self.address = bind(self._server, self._config.listen)
        self.registry.start()
        await self._server.start()
        for service in _SERVICES:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return self

    def _deliver(self, source: EngineLoop, events: list[Event]) -> None:
        """Wake the event loop once for the events of all sessions."""
        self._loop.call_soon_threadsafe(self.sessions.deliver, source, events)

    def _on_crash(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._note_crash, error)

    def _note_crash(self, error: BaseException) -> None:
        if not self.crashed.done():
            self.crashed.set_result(error)

    def _make_server(self) -> aio.Server:
        server = aio.server(
            interceptors=[StatusInterceptor()],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                # Otherwise a second daemon could listen on the same port.
                ("grpc.so_reuseport", 0),
                # A client whose machine fails does not close its connection; pings find out.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
        )
        add_GenerationServiceServicer_to_server(self.generation, server)
        add_ModelsServiceServicer_to_server(ModelsService(self.sessions), server)
        add_SessionsServiceServicer_to_server(SessionsService(self.sessions), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        services = [*_SERVICES[1:], health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(services, server)
        return server

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Finish the running operations within the drain timeout, then stop."""
        if self._stopped:
            return
        self._stopped = True
        await self._health.enter_graceful_shutdown()
        self.generation.drain()
        try:
            # A failed engine finishes no operation.
            timeout_s = 0 if self.crashed.done() else self._config.drain_timeout_s
            async with asyncio.timeout(timeout_s):
                await self.sessions.drained()
        except TimeoutError:
            self.sessions.cut()
        # The calls that are left now have clients that do not read.
        await self._server.stop(_LAST_WRITES_S)
        self.registry.stop()
