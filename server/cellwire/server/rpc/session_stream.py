"""One StreamSession call: a loop that receives operations, and a loop that sends answers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from grpc import aio

from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, Internal, NotFound, Unavailable
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.answer_window import AnswerWindow
from cellwire.server.rpc.chunks import ChunkWriter, coalesced
from cellwire.server.rpc.reading import Reader, read
from cellwire.server.rpc.wire import write
from cellwire.server.rpc.writing import answer_message, attached_message, opened_message
from cellwire.server.session.events import (
    Appended,
    Attached,
    AttachFailed,
    CheckpointRestored,
    Closed,
    Detached,
    Event,
    Opened,
    Rejected,
    Restored,
    Rewound,
    SafeAdvanced,
    SnapshotNeeded,
    StateRead,
    Written,
    is_partial,
)
from cellwire.server.session.operations import Fork
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.operations_pb2 import Attach, Chunk

_log = logging.getLogger(__name__)

Context = aio.ServicerContext[StreamSessionRequest, StreamSessionResponse]

_HALF_CLOSE_DELAY_S = 0.05
# Attaches are numbered by the daemon: two clients may use the same operation id.
_attach_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Why a stream ends. The first end is the one that counts."""

    error: CellwireError | None = None  # the status of the call; None for OK
    broken: bool = False  # whether the session's on_disconnect applies


class SessionStream:
    """Passes a client's operations on to its session, and sends the answers back.

    The send loop takes all events since its last write. Text leaves an engine every 20 ms; a client
    that reads more slowly gets longer chunks. Tokens are granted to the session as they are
    written, so a client that does not read pauses its own generation only.

    Only the send loop writes, and only it ends the call: nothing else may touch a write that is
    under way. Everything else sets the stream's end and wakes it.
    """

    def __init__(
        self,
        session: SessionHandle,
        requests: AsyncIterator[StreamSessionRequest],
        context: Context,
        max_unanswered: int,
    ) -> None:
        self._session = session
        self._requests = requests
        self._context = context
        self._reader = Reader(session.model, session.settings, session.text_ends)
        self._chunks = ChunkWriter(session.model.vocabulary)
        self.window = AnswerWindow(max_unanswered)
        self._attach_id = 0  # the client's operation id of its attach
        self._took_over = False
        self._end: StreamEnd | None = None  # None while the stream is open
        self._receiving = asyncio.create_task(self._receive())

    async def run(self, attach: Attach | None, operation_id: int) -> None:
        """Serve the call to its end, of a session just opened or of one to attach to.

        CellwireError if the call does not end with OK.
        """
        try:
            if attach is None:
                self._session.attach(self)
            else:
                self._attach(attach, operation_id)
            await self._send()
        finally:
            self._receiving.cancel()
            self._session.detach(self, broken=self._end is None or self._end.broken)

    def _attach(self, attach: Attach, operation_id: int) -> None:
        self._attach_id = operation_id
        self._took_over = self._session.attach(self, takeover=attach.takeover)
        number = next(_attach_numbers)
        offset = attach.offset if attach.HasField("offset") else None
        self._session.outbox.await_attach(number)
        self._session.post(commands.AttachReader(self._session.id, number, offset))

    def abort(self, error: CellwireError) -> None:
        """End with a status, after the write that is under way, and leave the session broken."""
        self._set_end(StreamEnd(error, broken=True))
        self._receiving.cancel()
        self._session.outbox.wake()

    def drain(self) -> None:
        """Receive no more operations, finish those received, then end with UNAVAILABLE."""
        self._receiving.cancel()
        self._session.finish()

    def _set_end(self, end: StreamEnd) -> None:
        if self._end is None:
            self._end = end

    async def _receive(self) -> None:
        """Pass operations on until the client half-closes."""
        try:
            async for request in self._requests:
                await self.window.enter()
                await self._try_to_pass_on(request)
            # The requests of a broken stream end, too, but then this task is cancelled very soon.
            await asyncio.sleep(_HALF_CLOSE_DELAY_S)
            self._session.finish()
        # The call would never end if an error stayed in this task.
        except CellwireError as error:
            self.abort(error)
        except Exception:  # noqa: BLE001
            _log.exception("the receive loop of a session failed")
            self.abort(Internal("the daemon failed; its log says how"))

    async def _try_to_pass_on(self, request: StreamSessionRequest) -> None:
        try:
            await self._pass_on(request)
        except CellwireError as error:
            self._session.outbox.put(Rejected(self._session.id, request.operation_id, error))

    async def _pass_on(self, request: StreamSessionRequest) -> None:
        if request.WhichOneof("operation") == "cancel":
            self._session.cancel(request.operation_id, request.cancel.operation_id)
            return
        operation = await read(self._reader.operation, request)
        if isinstance(operation, Fork) and request.fork.HasField("session_id"):
            await self._session.check_new(operation.session_id)
        self._session.submit(operation)

    async def _send(self) -> None:
        """Send answers until the stream ends; CellwireError if it does not end with OK."""
        while self._end is None:
            for event in coalesced(await self._next_events()):
                await self._write(event)
                if self._end is not None:
                    break
        if self._end.error is not None:
            raise self._end.error

    async def _next_events(self) -> list[Event]:
        """Wait for events, and take them; none if the stream ends meanwhile."""
        outbox = self._session.outbox
        while self._end is None and not outbox.unread:
            await outbox.more()
        return outbox.take() if self._end is None else []

    async def _write(self, event: Event | list[Written]) -> None:
        match event:
            case list():
                await self._write_chunk(event)
            case Opened():
                opened = opened_message(self._session)
                await self._respond(
                    StreamSessionResponse(operation_id=event.operation_id, opened=opened)
                )
            case Attached():
                await self._write_attached(event, self._chunks.missed(event))
            case AttachFailed():
                self._end_unattached(event)
            case Closed() | Detached():
                await self._write_end(event)
            case Written() | Restored() | StateRead() | SnapshotNeeded() | SafeAdvanced():
                pass  # the first is in a list, see coalesced; the others are for no stream
            case _:
                if isinstance(event, Appended | Rewound | CheckpointRestored):
                    self._chunks.forget_details()
                await self._respond(answer_message(event, self._session.model))
                if not is_partial(event):
                    self.window.leave()

    async def _write_attached(self, event: Attached, missed: Chunk | None) -> None:
        attached = attached_message(self._session, event, missed)
        await self._respond(StreamSessionResponse(operation_id=self._attach_id, attached=attached))

    async def _respond(self, response: StreamSessionResponse) -> None:
        await write(self._context, response)

    async def _write_chunk(self, written: list[Written]) -> None:
        chunk = self._chunks.chunk(written)
        if chunk is not None:
            operation_id = written[0].operation_id
            await self._respond(StreamSessionResponse(operation_id=operation_id, chunk=chunk))
        if self._end is None:  # otherwise another stream may be attached, with another grant
            self._session.grant_again(written)

    def _end_unattached(self, event: AttachFailed) -> None:
        if isinstance(event.error, NotFound):
            self._session.mark_closed()
        # The stream that was attached before has been aborted, and on_disconnect not applied yet.
        self._set_end(StreamEnd(event.error, broken=self._took_over))

    async def _write_end(self, event: Closed | Detached) -> None:
        error = None
        if isinstance(event, Closed):
            self._session.mark_closed()
            error = event.error
            if error is None and event.operation_id is None and self._session.draining:
                error = Unavailable()
        self._set_end(StreamEnd(error))
        if error is None and event.operation_id is not None:
            await self._respond(answer_message(event, self._session.model))
