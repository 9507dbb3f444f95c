"""A session of an engine, as the event loop's side holds it."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Self

from cellwire.server.events import Event
from cellwire.server.operations import Operation
from cellwire.server.registry import ServedModel
from cellwire.server.rpc.convert import model_message
from cellwire.server.rpc.outbox import Outboxes
from cellwire.v1 import operations_pb2


class LiveSession:
    """Opens a session on entering, and makes sure it is closed on leaving."""

    def __init__(
        self,
        model: ServedModel,
        outboxes: Outboxes,
        operation_id: int,
        message: operations_pb2.Open,
    ) -> None:
        self.id = secrets.token_hex(16)
        self.model = model
        self.seed = message.seed if message.HasField("seed") else secrets.randbits(64)
        self._operation_id = operation_id
        self._outboxes = outboxes

    async def __aenter__(self) -> Self:
        self._outbox = self._outboxes.add(self.id)
        self.model.loop.post(lambda e: e.open(self.id, self._operation_id, self.seed))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.model.loop.post(lambda e: e.close(self.id))
        self._outboxes.remove(self.id)

    @property
    def opened(self) -> operations_pb2.Opened:
        """The answer to Open."""
        return operations_pb2.Opened(
            session_id=self.id, model=model_message(self.model), seed=self.seed
        )

    async def events(self) -> list[Event]:
        """Wait for events, and take all there are."""
        return await self._outbox.take()

    def report(self, event: Event) -> None:
        """Add an event of our own to those of the engine."""
        self._outbox.put(event)
        self._outbox.wake()

    def submit(self, operation: Operation) -> None:
        """Let the session carry out an operation after those before it."""
        self.model.loop.post(lambda e: e.submit(self.id, operation))

    def finish(self) -> None:
        """Let the session end after the operations it has."""
        self.model.loop.post(lambda e: e.finish(self.id))

    def cancel(self, operation_id: int, target: int) -> None:
        """End an operation."""
        self.model.loop.post(lambda e: e.cancel(self.id, operation_id, target))

    def grant(self, chars: int) -> None:
        """Let the session generate as much more as has been written to the client."""
        self.model.loop.post(lambda e: e.grant(self.id, chars))
