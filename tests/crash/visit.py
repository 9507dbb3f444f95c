"""One stream of a client: sends operations, and takes answers into the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from tests.crash.entry import Entry
from tests.crash.ledger import Ledger
from tests.crash.operations import Accept, Fork, Operation, Save, complete_request, request
from tests.crash.service import Service
from tests.crash.stream import Stream
from tests.crash.violation import check

from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.operations_pb2 import Completed

_NO_OPERATION = 2  # its id belongs to none


class Visit:
    """What is said on one stream. Operations without an answer stay in the ledger for the next."""

    def __init__(
        self,
        stream: Stream,
        ledger: Ledger,
        service: Service,
        ids: Iterator[int],
        asides: dict[int, Entry | None],
        on_fork: Callable[[Entry], None],
    ) -> None:
        self.stream = stream
        self._ledger = ledger
        self._service = service
        self._ids = ids
        self._on_fork = on_fork
        self.closed = False  # whether a close was answered
        self._asides = asides  # operations in no ledger: cancels with their targets, and others

    async def add(self, operation: Operation) -> None:
        """Send a new operation."""
        if isinstance(operation, Accept):
            await self._complete_and_accept(Entry(next(self._ids), operation), new=True)
        else:
            entry = Entry(next(self._ids), operation)
            self._ledger.add(entry)
            await self._send(entry)

    async def cancel(self, target: Entry) -> None:
        target.cancelled = True
        await self.ask_aside(cancel={"operation_id": target.id}, target=target)

    async def take(self) -> StreamSessionResponse:
        """Take one answer."""
        response = await self.stream.receive()
        await self._service.note_message()
        self._ledger.note_safety(response)
        operation_id, kind = response.operation_id, response.WhichOneof("answer")
        if operation_id == 0:
            check(kind == "saved", f"{kind} is told unasked")
        elif operation_id in self._asides:
            self._take_aside(response)
        else:
            self._take_answer(response)
        return response

    async def drain(self) -> None:
        """Take answers until none is missing."""
        while self._ledger.open:
            await self.take()

    async def catch_up(self, running: Collection[int]) -> None:
        """Take what was answered before, then send again what was lost."""
        last = await self.ask_aside(cancel={"operation_id": _NO_OPERATION})
        while (await self.take()).operation_id != last:
            pass
        self._ledger.end_catching_up(running)
        for entry in self._ledger.open:
            if entry.answer is not None or entry.sent:
                continue
            if isinstance(entry.operation, Accept):
                await self._drain_before(entry)
                await self._complete_and_accept(entry, new=False)
            else:
                await self._send(entry)

    async def _drain_before(self, entry: Entry) -> None:
        while self._ledger.open[0] is not entry:
            await self.take()

    async def _send(self, entry: Entry) -> None:
        start = len(entry.before) if entry.again and entry is self._ledger.next_change else None
        entry.sent = True
        await self.stream.send(request(entry.id, entry.operation, start))

    async def _complete_and_accept(self, entry: Entry, *, new: bool) -> None:
        accept = entry.operation
        assert isinstance(accept, Accept)
        last = next(self._ids)
        self._asides[last] = None
        await self.stream.send(complete_request(last, accept))
        response = await self.take()
        while response.operation_id != last:
            response = await self.take()
        completed = response.completed
        check(
            response.WhichOneof("answer") == "completed" and len(completed.completions) == 1,
            f"a complete is answered by {response}",
        )
        self._keep_completed(entry, completed)
        if new:
            self._ledger.add(entry)
        await self._send(entry)

    def _keep_completed(self, entry: Entry, completed: Completed) -> None:
        earlier = entry.completed
        check(
            earlier in (None, completed),
            f"{entry.operation} finds {completed} after a loss, and {earlier} before",
        )
        entry.completed = completed

    async def ask_aside(self, *, target: Entry | None = None, **operation: object) -> int:
        """Send an operation that is in no ledger; return its id."""
        number = next(self._ids)
        self._asides[number] = target
        message = StreamSessionRequest(operation_id=number, **operation)  # type: ignore[arg-type]
        await self.stream.send(message)
        return number

    def _take_aside(self, response: StreamSessionResponse) -> None:
        self.closed = self.closed or response.WhichOneof("answer") == "closed"
        target = self._asides[response.operation_id]
        if target is not None and response.WhichOneof("answer") == "cancelled":
            check(
                target not in self._ledger.open,
                f"operation {target.id} is cancelled, and was not answered before",
            )

    def _take_answer(self, response: StreamSessionResponse) -> None:
        ledger = self._ledger
        kind = response.WhichOneof("answer")
        # A save may wait for the store longer than for its turn.
        late = ledger.catching_up or kind == "saved"
        if late and response.operation_id in ledger.dropped:
            return
        entry = ledger.find(response.operation_id)
        check(entry is not None, f"{kind} answers operation {response.operation_id}: there is none")
        assert entry is not None
        told = entry.answer is not None
        ledger.receive(response)
        if told:
            return
        if kind == "saved" and isinstance(entry.operation, Save):
            safe, least = ledger.safe.revision, ledger.revision_before(entry)
            check(safe >= least, f"saved, with {safe} of {least} changes")
        if kind == "forked" and isinstance(entry.operation, Fork):
            self._on_fork(entry)
