"""A session of the fake daemon: operations in order, one at a time; cancel overtakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
from tests.client.fake.models import basic
from tests.client.fake.refused import Refused
from tests.client.fake.stream import FakeStream
from tests.client.fake.text import FakeText

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.operations_pb2 import Attach, Attached, Completed, DoneOperation, Finished

if TYPE_CHECKING:
    from tests.client.fake.daemon import FakeDaemon


class FakeSession:
    def __init__(self, daemon: FakeDaemon, session_id: str, text: FakeText) -> None:
        self.id = session_id
        self.text = text
        self.stream: FakeStream | None = None
        self._daemon = daemon
        daemon.generated_tokens[session_id] = 0
        self.done: list[DoneOperation] = []
        self._operations: asyncio.Queue[int] = asyncio.Queue()
        self._requests: dict[int, StreamSessionRequest] = {}
        self._task: asyncio.Task[None] | None = None
        self._reason = operations_pb2.FINISH_REASON_CANCELLED
        self._unsent: list[StreamSessionResponse] = []
        self._answering = asyncio.Lock()
        self._attached_at = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._worker = asyncio.create_task(self._work())

    @property
    def operation_ids(self) -> list[int]:
        return list(self._requests)

    async def attach(self, stream: FakeStream, operation_id: int, message: Attach) -> None:
        offset = message.offset if message.HasField("offset") else None
        self.text.since(offset)  # refuses a wrong offset
        if self.stream is not None:
            if not message.takeover:
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "another stream is attached to the session; takeover takes it",
                )
            self.stream.break_off(
                grpc.StatusCode.ABORTED, "another stream has taken the session over"
            )
        async with self._answering:
            self.stream = stream
            self._flowing.set()
            missed = self.text.since(offset)
            self._attached_at = len(self.text.data)
            begin = len(self.text.data) - len(missed)
            attached = Attached(
                session_id=self.id,
                model=basic(self.text.model),
                offset=len(self.text.data),
                operation_ids=self.operation_ids,
                missed=self.text.chunk(begin, missed) if missed else None,
                seed=self.text.seed(),
                done=self.done,
                durability=self.text.opened.durability,
            )
            answer = StreamSessionResponse(operation_id=operation_id, attached=attached)
            await stream.send(self._with_safety(answer))
            for answer in self._unsent:
                await stream.send(answer)

    async def receive(self, requests: AsyncIterator[StreamSessionRequest]) -> None:
        async for request in requests:
            self._daemon.requests.append(request)
            await self.submit(request)

    async def submit(self, request: StreamSessionRequest) -> None:
        kind = request.WhichOneof("operation")
        if kind == "cancel":
            self._daemon.log.append(kind)
            await self._cancel(request)
            return
        if kind in {"append", "generate", "accept", "rewind"}:
            for operation_id, other in list(self._requests.items()):
                if other.WhichOneof("operation") == "complete":
                    await self._end(operation_id, operations_pb2.FINISH_REASON_SUPERSEDED)
        self._requests[request.operation_id] = request
        self._operations.put_nowait(request.operation_id)

    def leave(self, stream: FakeStream) -> None:
        """The client has gone; the session does as on_disconnect says."""
        if self.stream is not stream:
            return
        self.stream = None
        match self.text.opened.on_disconnect:
            case operations_pb2.ON_DISCONNECT_CANCEL:
                self._cancel_all()
            case operations_pb2.ON_DISCONNECT_PAUSE:
                self._flowing.clear()
            case operations_pb2.ON_DISCONNECT_CONTINUE:
                pass
            case operations_pb2.ON_DISCONNECT_UNSPECIFIED if self.text.durable:
                self._flowing.clear()
            case _:
                self.end()

    def _cancel_all(self) -> None:
        self._reason = operations_pb2.FINISH_REASON_CANCELLED
        running = next(iter(self._requests), None)
        for operation_id in list(self._requests):
            if operation_id != running:
                del self._requests[operation_id]
        if self._task is not None:
            self._task.cancel()

    def restart(self) -> None:
        """Be as after a restart of the daemon: what was under way is forgotten."""
        if self.stream is not None:
            self.stream.break_off(grpc.StatusCode.UNAVAILABLE, "the daemon is shutting down")
            self.stream = None
        self._requests.clear()
        self._unsent.clear()
        self._worker.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._operations = asyncio.Queue()
        self._answering = asyncio.Lock()
        self._worker = asyncio.create_task(self._work())

    def end(self, reason: str = "the session was deleted") -> None:
        self._daemon.sessions.pop(self.id, None)
        self._worker.cancel()
        if self._task is not None:
            self._task.cancel()
        if self.stream is not None:
            self.stream.break_off(grpc.StatusCode.ABORTED, reason)

    async def _cancel(self, request: StreamSessionRequest) -> None:
        answer = StreamSessionResponse(operation_id=request.operation_id)
        if request.cancel.operation_id in self._requests:
            reason = operations_pb2.FINISH_REASON_CANCELLED
            await self._end(request.cancel.operation_id, reason)
            answer.cancelled.SetInParent()
        else:
            answer.rejected.status.code = grpc.StatusCode.NOT_FOUND.value[0]
        await self._answer(answer)

    async def _end(self, operation_id: int, reason: operations_pb2.FinishReason.ValueType) -> None:
        """End an operation that is running or waiting."""
        if operation_id == next(iter(self._requests)) and self._task is not None:
            self._reason = reason
            self._task.cancel()
        else:
            del self._requests[operation_id]
            finished = self.text.end(Finished(reason=reason))
            await self._answer(StreamSessionResponse(operation_id=operation_id, finished=finished))

    async def _work(self) -> None:
        while True:
            request = self._requests.get(await self._operations.get())
            if request is None:
                continue  # it was cancelled while it waited
            kind = str(request.WhichOneof("operation"))
            self._daemon.log.append(kind)
            self._task = asyncio.create_task(self._carry_out(request))
            await asyncio.wait([self._task])
            task, self._task = self._task, None
            del self._requests[request.operation_id]
            last = self._last(request, task)
            self._note_done(kind, last)
            await self._answer(last)
            if kind == "close":
                break
        if not request.close.keep:
            del self._daemon.sessions[self.id]
        if self.stream is not None:
            await self.stream.send(None)
            self.stream = None
        if request.close.keep:
            self._worker = asyncio.create_task(self._work())

    def _last(
        self, request: StreamSessionRequest, task: asyncio.Task[None]
    ) -> StreamSessionResponse:
        """Return the last answer of an operation that was cancelled, failed or got through."""
        answer = StreamSessionResponse(operation_id=request.operation_id)
        if task.cancelled():
            answer.finished.CopyFrom(self.text.end(Finished(reason=self._reason)))
        elif isinstance(error := task.exception(), Refused):
            answer.rejected.status.CopyFrom(error.status)
        else:
            answer.CopyFrom(self._result)
        return answer

    def _note_done(self, kind: str, last: StreamSessionResponse) -> None:
        if not self.text.durable or kind not in {"append", "generate", "accept", "rewind"}:
            return
        done = DoneOperation(operation_id=last.operation_id)
        answer = str(last.WhichOneof("answer"))
        getattr(done, answer).CopyFrom(getattr(last, answer))
        self.done = [*self.done, done][-64:]

    def _with_safety(self, answer: StreamSessionResponse) -> StreamSessionResponse:
        if self.text.durable:
            if self._daemon.saves:
                answer.safe.CopyFrom(self.text.safe())
            answer.revision = self.text.revision
        return answer

    async def _carry_out(self, request: StreamSessionRequest) -> None:
        kind = str(request.WhichOneof("operation"))
        if self._daemon.refusal is not None and kind not in {"open", "close"}:
            raise self._daemon.refusal
        self._result = StreamSessionResponse(operation_id=request.operation_id)
        if kind == "generate":
            await self._generate(request)
        elif kind == "complete":
            await self._complete(request)
        elif kind == "close":
            self._result.closed.SetInParent()
        elif kind == "save":
            self._result.saved.SetInParent()
        elif kind == "fork":
            seed = request.fork.seed if request.fork.HasField("seed") else None
            copy = self._daemon.fork(self, seed, request.fork.session_id)
            self._result.forked.CopyFrom(copy.text.forking(copy.id, copy.text.seed()))
        else:
            simple: dict[str, tuple[str, Callable[[], Any]]] = {
                "append": ("appended", lambda: self.text.append(request.append)),
                "accept": ("appended", lambda: self.text.accept(request.accept)),
                "rewind": ("rewound", lambda: self.text.rewind(request.rewind)),
                "checkpoint": ("checkpointed", lambda: self.text.keep(request.checkpoint)),
                "restore": ("restored", lambda: self.text.restore(request.restore)),
                "discard": ("discarded", lambda: self.text.discard(request.discard)),
                "score": ("scored", lambda: self.text.score(request.score)),
                "classify": ("classified", self.text.classify),
                "open": ("opened", lambda: self.text.opening(self.id)),
            }
            answer, do = simple[kind]
            getattr(self._result, answer).CopyFrom(do())

    async def _generate(self, request: StreamSessionRequest) -> None:
        async for chunk in self._daemon.write(self.text, request.generate):
            # What is in the text must be sent, even if the generation is cancelled.
            self._daemon.generated_tokens[self.id] += len(chunk.text)
            answer = StreamSessionResponse(operation_id=request.operation_id, chunk=chunk)
            await asyncio.shield(self._answer(answer))
            await self._flowing.wait()
        self._result.finished.CopyFrom(self.text.end())

    async def _complete(self, request: StreamSessionRequest) -> None:
        found = Completed()
        message = request.complete
        for number, found in enumerate(self.text.search(message, self._daemon.continuations)):
            if number == self._daemon.pause_search_at:
                self._daemon.paused.set()
                await self._daemon.go_on.wait()
            await asyncio.sleep(0)  # a search takes time, in which it can be superseded
            if message.partial_results:
                await self._answer(
                    StreamSessionResponse(operation_id=request.operation_id, completing=found)
                )
        self._result.completed.CopyFrom(found)

    async def _answer(self, answer: StreamSessionResponse) -> None:
        self._with_safety(answer)
        async with self._answering:
            if answer.HasField("chunk") and answer.chunk.end_offset <= self._attached_at:
                return  # attached has sent it as missed text
            if self.stream is not None:
                await self.stream.send(answer)
            elif answer.WhichOneof("answer") not in {"chunk", "completing"}:
                self._unsent.append(answer)
