"""One Session call: a loop that receives operations, and a loop that sends answers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator

from grpc import aio

from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, Internal, NotFound, Unavailable
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.reading import Reader, read
from cellwire.server.rpc.requests import readable
from cellwire.server.rpc.responses import write
from cellwire.server.rpc.writing import Writer, attached_message, coalesced, opened_message
from cellwire.server.session.events import (
    Answer,
    Attached,
    AttachFailed,
    Closed,
    Completed,
    Detached,
    Event,
    Opened,
    Rejected,
    Restored,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse

_log = logging.getLogger(__name__)

Context = aio.ServicerContext[StreamSessionRequest, StreamSessionResponse]

# More than a session lets wait, so that a client hears RESOURCE_EXHAUSTED before we stop reading.
_MAX_UNANSWERED = 2 * Limits().waiting_operations
_BREATH_S = 0.05
# Attaches are told apart by numbers of our own: two clients may use the same operation id.
_attaches = itertools.count(1)


class SessionStream:
    """Carries the operations of one client to its session, and the answers back.

    Only the send loop writes. It takes everything there is since its last write, so a client that
    keeps up gets a character a message, and one that does not gets longer chunks. What is written
    is granted to the session again: a client that does not read pauses its own generation only.
    Whatever ends the call, the send loop does: nothing else may touch a write that is under way.
    """

    def __init__(
        self,
        session: SessionHandle,
        requests: AsyncIterator[StreamSessionRequest],
        context: Context,
    ) -> None:
        self._session = session
        self._requests = requests
        self._context = context
        self._reader = Reader(session.model, session.settings)
        self._writer = Writer(session.model)
        self._unanswered = 0
        self._answered = asyncio.Condition()
        self._attach: int | None = None  # its number, until it is answered
        self._attach_id = 0  # the client's
        self._took_over = False
        self._draining = False
        self._let_go = False
        self._broken_off: CellwireError | None = None
        self._receiving: asyncio.Task[None] | None = None

    async def run(self, attach: operations_pb2.Attach | None, operation_id: int) -> None:
        """Serve the call, of a session just opened or of one to attach to, to its end.

        CellwireError if that is not to be OK.
        """
        if attach is not None:
            self._attach_id = operation_id
            self._took_over = self._session.attach(self, takeover=attach.takeover)
            number = self._attach = next(_attaches)
            offset = attach.offset if attach.HasField("offset") else None
            self._session.post(commands.AttachReader(self._session.id, number, offset))
        else:
            self._session.attach(self)
        self._receiving = asyncio.create_task(self._receive())
        try:
            await self._send()
        finally:
            self._receiving.cancel()
            self._session.detach(self, broken=not self._let_go)

    def abort(self, error: CellwireError) -> None:
        """End with a status as soon as what is being written has been."""
        self._broken_off = error
        if self._receiving is not None:
            self._receiving.cancel()
        self._session.outbox.wake()

    def _check_unbroken(self) -> None:
        if self._broken_off is not None and not self._let_go:
            raise self._broken_off

    def drain(self) -> None:
        """Take no more operations, finish those there are, then end with UNAVAILABLE."""
        self._draining = True
        if self._receiving is not None:
            self._receiving.cancel()
        self._session.finish()

    async def _receive(self) -> None:
        """Pass operations on, until the client closes its side of the stream."""
        try:
            async for request in readable(self._requests):
                async with self._answered:
                    await self._answered.wait_for(lambda: self._unanswered < _MAX_UNANSWERED)
                    self._unanswered += 1
                await self._try_to_pass_on(request)
            # A broken stream ends in the same way as one the client has closed its side of, but
            # then this task is cancelled in the same breath.
            await asyncio.sleep(_BREATH_S)
            self._session.finish()
        # Whatever goes wrong here, the send loop must hear of it, or the call would never end.
        except CellwireError as error:
            self.abort(error)
        except Exception:  # noqa: BLE001
            _log.exception("a session's receive loop failed")
            self.abort(Internal("the daemon made a mistake"))

    async def _try_to_pass_on(self, request: StreamSessionRequest) -> None:
        try:
            await self._pass_on(request)
        except CellwireError as error:
            self._session.outbox.put(Rejected(self._session.id, request.operation_id, error))

    async def _pass_on(self, request: StreamSessionRequest) -> None:
        """Hand one operation to the session."""
        if request.WhichOneof("operation") == "cancel":
            self._session.cancel(request.operation_id, request.cancel.operation_id)
        else:
            self._session.submit(await read(self._reader.operation, request))

    async def _send(self) -> None:
        """Write answers as they come, until the session is closed."""
        while True:
            for event in coalesced(await self._events()):
                await self._write(event)
                if self._let_go:
                    return

    async def _events(self) -> list[Event]:
        """Wait for events, and take them."""
        outbox = self._session.outbox
        while True:
            self._check_unbroken()
            if events := outbox.take() if self._attach is None else self._recalled():
                return events
            await outbox.more()

    def _recalled(self) -> list[Event]:
        """Take what there is if the attach has been answered, that first; otherwise nothing.

        Of what was there before, only answers count, and only an attach that succeeds takes them.
        """
        outbox = self._session.outbox
        for place, event in enumerate(outbox.unread):
            match event:
                case Closed(error=CellwireError()):
                    return [event]
                case AttachFailed(operation_id=self._attach):
                    return [event]
                case Attached(operation_id=self._attach):
                    self._attach = None
                    events = outbox.take()
                    early = [e for e in events[:place] if _is_answer(e)]
                    return [event, *early, *events[place + 1 :]]
        return []

    async def _write(self, event: Event | list[Written]) -> None:  # noqa: C901  # one case an event
        match event:
            case list():
                await self._write_chunk(event)
            case Opened():
                opened = opened_message(self._session)
                await self._respond(
                    StreamSessionResponse(operation_id=event.operation_id, opened=opened)
                )
            case Attached():
                await self._write_attached(event)
            case AttachFailed():
                if isinstance(event.error, NotFound):
                    self._session.mark_closed()
                self._let_go = not self._took_over  # or nobody would be there, as after a break
                raise event.error
            case Closed():
                await self._write_end(event)
            case Written() | Restored():
                pass  # the one is in a list, see coalesced; the other is for no stream
            case Detached():
                self._let_go = True
                if event.operation_id is not None:
                    await self._respond(self._writer.answer(event))
            case _:
                await self._respond(self._writer.answer(event))
                if not (isinstance(event, Completed) and event.partial):
                    await self._note_answered()

    async def _respond(self, response: StreamSessionResponse) -> None:
        await write(self._context, response)
        self._check_unbroken()

    async def _note_answered(self) -> None:
        """Make room for another operation: one has had its last answer."""
        async with self._answered:
            self._unanswered = max(0, self._unanswered - 1)  # 0 after another stream's operations
            self._answered.notify()

    async def _write_chunk(self, written: list[Written]) -> None:
        chunk = self._writer.chunk(written)
        if chunk is not None:
            operation_id = written[0].operation_id
            await self._respond(StreamSessionResponse(operation_id=operation_id, chunk=chunk))
        self._session.grant_again(written)

    async def _write_attached(self, event: Attached) -> None:
        attached = attached_message(self._session, event, self._writer.missed(event))
        await self._respond(StreamSessionResponse(operation_id=self._attach_id, attached=attached))

    async def _write_end(self, event: Closed) -> None:
        self._let_go = True
        self._session.mark_closed()
        if event.error is not None:
            raise event.error
        if event.operation_id is not None:
            await self._respond(self._writer.answer(event))
        elif self._draining:
            raise Unavailable("the daemon is shutting down")


def _is_answer(event: Event) -> bool:
    """Whether it ends an operation, and not only the stream it was meant for."""
    return isinstance(event, Answer) and not isinstance(event, Detached)
