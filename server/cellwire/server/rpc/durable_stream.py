"""The stream of a durable session: its answers say how much of the session is safe."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from cellwire.server.errors import Unavailable
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.earlier_text import EarlierText
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.rpc.durable_writing import safe_message
from cellwire.server.rpc.session_stream import SessionStream, StreamEnd
from cellwire.server.session.events import (
    Appended,
    Attached,
    Checkpointed,
    CheckpointRestored,
    Closed,
    Detached,
    Discarded,
    Event,
    Finished,
    Rejected,
    Rewound,
    SafeAdvanced,
    Written,
)
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import Attach, Saved


class DurableStream(SessionStream):
    """Adds revisions and safe points to the answers, and sends `saved` where none says it."""

    earlier: EarlierText | None = None  # that its session remembers no longer
    _revision = 0  # of the answer that is written

    _session: DurableSession

    async def _write(self, event: Event | list[Written]) -> None:
        if isinstance(event, SafeAdvanced):
            if self._session.news.any:
                self._revision = 0
                await self._respond(StreamSessionResponse(saved=Saved()))
            return
        match event[-1] if isinstance(event, list) else event:
            case (
                Written(revision=revision)
                | Appended(revision=revision)
                | Attached(revision=revision)
                | Finished(revision=revision)
                | Rewound(revision=revision)
                | Rejected(revision=revision)
                | Checkpointed(revision=revision)
                | CheckpointRestored(revision=revision)
                | Discarded(revision=revision)
            ):
                self._revision = revision
            case _:
                self._revision = 0
        if isinstance(event, Attached) and self.earlier is not None:
            await self._write_long(event, self.earlier)
        else:
            await super()._write(event)

    async def _write_long(self, event: Attached, earlier: EarlierText) -> None:
        """Write what an attach has missed with the text that goes before it."""
        restored = self._session.record.changes.restored_revision
        if earlier.restored_revision < restored <= event.revision:
            self._set_end(StreamEnd(Unavailable("the session was restored meanwhile"), broken=True))
            return
        tokens = (*earlier.tokens, *event.tokens)
        event = replace(event, offset=earlier.offset, before=earlier.before, tokens=tokens)
        self.earlier = None  # it may be long
        missed = await in_own_thread("write a text", partial(self._chunks.missed, event))
        await self._write_attached(event, missed)

    def _attach(self, attach: Attach, operation_id: int) -> None:
        if self.earlier is not None:
            attach.offset = self.earlier.end
        super()._attach(attach, operation_id)

    async def _respond(self, response: StreamSessionResponse) -> None:
        response.revision = self._revision
        self._session.news.told = self._session.safe_point
        if (safe := safe_message(self._session)) is not None:
            response.safe.CopyFrom(safe)
        await super()._respond(response)

    async def _write_end(self, event: Closed | Detached) -> None:
        drained = isinstance(event, Detached) and event.operation_id is None
        if drained and self._session.draining:
            self._set_end(StreamEnd(Unavailable()))
        else:
            await super()._write_end(event)
