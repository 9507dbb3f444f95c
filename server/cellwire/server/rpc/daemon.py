"""The daemon: models, services and the port, from its start until it is drained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cellwire.server.host.config import Config
from cellwire.server.host.expiry_sweep import ExpirySweep
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.opening import open_store
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.placement import place
from cellwire.server.host.registry import Registry
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.text_memory import MIB, TextMemory
from cellwire.server.rpc import options
from cellwire.server.rpc.address import bind
from cellwire.server.rpc.calls import Calls
from cellwire.server.rpc.generation_service import GenerationService
from cellwire.server.rpc.health_service import HealthService
from cellwire.server.rpc.interceptor import StatusInterceptor
from cellwire.server.rpc.models_service import ModelsService
from cellwire.server.rpc.sessions_service import SessionsService
from cellwire.server.session.events import Event
from cellwire.server.store.leases import OpenedStore
from cellwire.v1 import generation_pb2, models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import add_GenerationServiceServicer_to_server
from cellwire.v1.models_pb2_grpc import add_ModelsServiceServicer_to_server
from cellwire.v1.sessions_pb2_grpc import add_SessionsServiceServicer_to_server

STORE = "cellwire.store"
"""The name under which the health service reports whether the store works."""

_SERVICES = (
    "",  # the daemon as a whole
    generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["ModelsService"].full_name,
    sessions_pb2.DESCRIPTOR.services_by_name["SessionsService"].full_name,
)

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_LAST_WRITES_S = 1.0
_STATUSES_S = 0.5  # for the statuses of the calls that are cut


class Daemon:
    """A running daemon; leaving its context drains it.

    `address` is where it listens, with the port that was assigned. `crashed` holds the error if an
    engine's thread failed, which is a fault of the daemon.
    """

    def __init__(
        self,
        config: Config,
        *,
        open_store: Callable[[Config], OpenedStore | None] = open_store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Choose the device to run on; NoCuda if it is configured and cannot be used.

        `clock` is the wall clock, in seconds since 1970, by which durable sessions expire.
        """
        self.placement = place(config.provider, config.device)
        self.address = config.listen
        self.crashed: asyncio.Future[BaseException]
        self.registry: Registry
        self._config = config
        self._open_store = open_store
        self._clock = clock
        self._stored: StoredSessions | None = None
        self._stopped = False

    async def __aenter__(self) -> Self:
        """Load the models and listen; CannotOpenStore, BadModel, CannotListen."""
        self._loop = asyncio.get_running_loop()
        self.crashed = self._loop.create_future()
        # A file may hang; signals are handled meanwhile.
        opened = await in_own_thread(
            "open the store", lambda: self._open_store(self._config), drop=_close
        )
        try:
            self.registry = await in_own_thread(
                "load the models", self._read_models, drop=Registry.stop
            )
        except BaseException:
            _close(opened)
            raise
        if opened is not None:
            self._stored = StoredSessions(
                opened, self._clock, self._config.resident, self._note_store
            )
        try:
            await self._listen()
        except BaseException:
            await self._stop_engines()
            raise
        return self

    async def _listen(self) -> None:
        """Serve the models; CannotListen."""
        memory = TextMemory(self._config.text_memory * MIB)
        self.sessions = SessionDirectory(self.registry, memory, self._stored)
        if self._stored is not None and self.sessions.access is not None:
            self.sweep = ExpirySweep(self._stored, self.sessions.access.deletion)
        self.generation = GenerationService(self.sessions, self._config.limits)
        self._health = HealthService(_SERVICES if self._stored is None else (*_SERVICES, STORE))
        self._calls = Calls(options.max_calls(self._config.sessions))
        self._server = self._make_server()
        self.address = bind(self._server, self._config.listen)
        self.registry.start()
        if self.sessions.access is not None:
            self.sessions.access.start()
        await self._server.start()
        if self._stored is not None:
            self.sweep.start()

    def _note_store(self, well: bool) -> None:  # noqa: FBT001  # a callback's only argument
        self._health.note(STORE, well=well)

    def _read_models(self) -> Registry:
        return Registry(self._config, self.placement, self._deliver, self._on_crash)

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
            interceptors=[StatusInterceptor(self._calls)],
            options=options.of_server(self._config.sessions),
        )
        add_GenerationServiceServicer_to_server(self.generation, server)
        add_ModelsServiceServicer_to_server(ModelsService(self.sessions), server)
        add_SessionsServiceServicer_to_server(SessionsService(self.sessions), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        services = [*_SERVICES[1:], _HEALTH, reflection.SERVICE_NAME]
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
        self._health.drain()
        self.generation.drain()
        try:
            # A failed engine finishes no operation.
            timeout_s = 0 if self.crashed.done() else self._config.drain_timeout_s
            async with asyncio.timeout(timeout_s):
                await self.sessions.drained()
        except TimeoutError:
            self.sessions.cut()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITES_S):
                    await self.sessions.drained()
        # The calls that are left now have clients that do not read.
        stopped = asyncio.ensure_future(self._server.stop(_LAST_WRITES_S + _STATUSES_S))
        await self._calls.end(_LAST_WRITES_S)
        await stopped
        await self._stop_engines()

    async def _stop_engines(self) -> None:
        await in_own_thread("stop the engines", self.registry.stop)
        if self._stored is not None and self.sessions.access is not None:
            self.sweep.stop()
            await self.sessions.access.end()
            await self._stored.close()


def _close(opened: OpenedStore | None) -> None:
    if opened is not None:
        opened.store.close()
