"""A session of the fake daemon: its operations, one after the other, and its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from tests.crash.fake import model
from tests.crash.fake.faults import Fault
from tests.crash.fake.generating import Generating
from tests.crash.fake.store import Version, Write

from cellwire.v1 import operations_pb2 as pb
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from google.rpc import status_pb2

_REMEMBERED = 64
_CHANGES = {"append", "accept", "generate", "rewind", "checkpoint", "restore"}
_TELL_REVISION = {"appended", "chunk", "finished", "rewound", "checkpointed", "restored"}
_STEP_S = 0.0005
_SYMBOLS_A_CHUNK = 7


class FakeSession:
    """Carries out operations, and puts each change into the store."""

    def __init__(
        self,
        session_id: str,
        header: pb.Open,
        version: Version,
        put: Callable[[Write], None],
        fork: Callable[[FakeSession, pb.Fork], tuple[FakeSession, pb.Forked]],
        fault: Fault | None,
    ) -> None:
        self.id = session_id
        self.header = header
        self.text = version.text
        self.revision = version.revision
        self.done = list(version.done)
        self.kept = dict(version.kept)
        self.safe: pb.SafePoint | None = None
        self.queue: list[StreamSessionRequest] = []
        self.outbox: list[StreamSessionResponse] = []
        self.attachment = 0  # the number of the stream that is attached
        self.going = asyncio.Event()
        self.news = asyncio.Condition()
        self.ended = False
        self.deleted = False  # from the store
        self._put = put
        self._fork = fork
        self._fault = fault
        self._cancelled: set[int] = set()
        self._completion = ""
        self._drift = 0  # of the state, after a wake with the fault
        self._operations: dict[str, Callable[[StreamSessionRequest], Any]] = {
            "append": self._append,
            "generate": self._generate,
            "complete": self._complete,
            "accept": self._accept,
            "rewind": self._rewind,
            "checkpoint": self._checkpoint,
            "restore": self._restore,
            "fork": self._copy,
            "score": self._score,
            "save": self._save,
            "close": self._close,
        }

    @property
    def durable(self) -> bool:
        return self.header.durability in (pb.DURABILITY_SAFE_LATER, pb.DURABILITY_SAFE_FIRST)

    def wake(self) -> None:
        """Begin after a restart, with the faults that show then."""
        self.safe = pb.SafePoint(revision=self.revision, offset=len(self.text))
        if self._fault is Fault.WAKES_WITH_ANOTHER_STATE:
            self._drift = 1
        if self._fault is Fault.FORGETS_CHECKPOINTS:
            self.kept.clear()

    async def run(self) -> None:
        """Carry out operations until the session ends."""
        while not self.ended:
            async with self.news:
                await self.news.wait_for(lambda: self.queue)
            await self.going.wait()
            request = self.queue[0]
            if request.operation_id in self._cancelled:
                await self._finish_cancelled(request, len(self.text))
            else:
                await self._operations[request.WhichOneof("operation") or ""](request)
            self.queue = [waiting for waiting in self.queue if waiting is not request]
            await self._notify()

    async def submit(self, request: StreamSessionRequest) -> None:
        if request.WhichOneof("operation") == "cancel":
            await self._cancel(request)
        else:
            self.queue.append(request)
            await self._notify()

    async def note_safe(self, version: Version) -> None:
        """Hear from the store."""
        self.safe = pb.SafePoint(revision=version.revision, offset=len(version.text))
        if self._fault is Fault.WRONG_SAFE_OFFSET:
            self.safe.offset += 1
        if self.header.durability == pb.DURABILITY_SAFE_LATER:
            self.outbox.append(StreamSessionResponse(saved=pb.Saved(), revision=version.revision))
        await self._notify()

    async def note_deleted(self) -> None:
        self.deleted = True
        await self._notify()

    async def _when(self, safe: Callable[[], bool]) -> None:
        """Wait for the store, if answers do."""
        if self.header.durability == pb.DURABILITY_SAFE_FIRST:
            async with self.news:
                await self.news.wait_for(safe)

    def is_safe(self, revision: int) -> bool:
        return self.safe is not None and self.safe.revision >= revision

    async def cancel_all(self) -> None:
        self._cancelled |= {request.operation_id for request in self.queue}
        await self._notify()

    def change(self, text: str, done: pb.DoneOperation | None = None) -> None:
        """Change the text, and put the new version into the store."""
        self.text = text
        self.revision += 1
        if done is not None:
            self.done = [*self.done, done][-_REMEMBERED:]
        if self.durable:
            version = Version(self.revision, self.text, tuple(self.done), dict(self.kept))
            self._put(Write(self.id, self.header, version))

    async def tell(self, operation_id: int, **answer: object) -> None:
        response = StreamSessionResponse(operation_id=operation_id, **answer)  # type: ignore[arg-type]
        if self.durable and answer.keys() & _TELL_REVISION:
            response.revision = self.revision
        self.outbox.append(response)
        if self._fault is Fault.ANSWERS_TWICE and "appended" in answer:
            self.outbox.append(response)
        if self._fault is Fault.REORDERS_ANSWERS and len(self.outbox) > 1:
            self.outbox[-2:] = reversed(self.outbox[-2:])
        if self._fault is Fault.DOUBLES_CHUNK and "chunk" in answer:
            self.outbox.append(response)
        if self._fault is Fault.DROPS_CHUNK and "chunk" in answer and self.revision % 5 == 0:
            self.outbox.pop()
        await self._notify()

    async def note_end(self) -> None:
        """Let those who wait look again: a stream's requests have ended."""
        await self._notify()

    async def _notify(self) -> None:
        async with self.news:
            self.news.notify_all()
        await asyncio.sleep(0)

    async def _append(self, request: StreamSessionRequest) -> None:
        await self._add(request.operation_id, request.append.text)

    async def _add(self, operation_id: int, text: str) -> None:
        before = len(self.text)
        appended = pb.Appended(
            offset=before + len(text), log_probability=model.log_probability(self._state, text)
        )
        done = pb.DoneOperation(operation_id=operation_id, appended=appended)
        self.change(self.text + text, done)
        await self.tell(operation_id, appended=appended)

    @property
    def _state(self) -> int:
        return model.read(self._drift, self.text)

    async def _generate(self, request: StreamSessionRequest) -> None:
        generate, number = request.generate, request.operation_id
        again = generate.HasField("start_offset") and self._fault is not Fault.IGNORES_START_OFFSET
        start = generate.start_offset if again else len(self.text)
        going = Generating(generate, self.header.seed, self._state, self.text, start)
        cancelled = False
        chunk = ""
        for released in going:
            chunk += released
            if len(chunk) >= _SYMBOLS_A_CHUNK:
                await self._tell_chunk(number, chunk)
                chunk = ""
                await asyncio.sleep(_STEP_S)
                await self.going.wait()
            if number in self._cancelled:
                cancelled = True
                break
        chunk += going.held if cancelled else going.kept_before_stop()
        if chunk:
            await self._tell_chunk(number, chunk)
        finished = pb.Finished(
            reason=pb.FINISH_REASON_CANCELLED if cancelled else going.reason,
            offset=len(self.text),
            usage=pb.Usage(generated_tokens=going.generated),
            stop_string="" if cancelled else going.stop_string,
        )
        done = pb.DoneOperation(operation_id=number, finished=finished)
        self.change(self.text, done)
        await self.tell(number, finished=finished)

    async def _tell_chunk(self, number: int, text: str) -> None:
        start = len(self.text)
        self.change(self.text + text)
        chunk = pb.Chunk(offset=start, text=text, end_offset=len(self.text))
        await self.tell(number, chunk=chunk)

    async def _complete(self, request: StreamSessionRequest) -> None:
        state, self._completion = self._state, ""
        for _ in range(request.complete.max_tokens):
            symbol = model.draw(state, 0)
            state = model.read(state, symbol)
            self._completion += symbol
        completion = pb.Completion(
            text=self._completion,
            token_count=len(self._completion),
            log_probability=model.log_probability(self._state, self._completion),
        )
        completed = pb.Completed(offset=len(self.text), completions=[completion])
        await self.tell(request.operation_id, completed=completed)

    async def _accept(self, request: StreamSessionRequest) -> None:
        text = self._completion[: request.accept.tokens or None]
        await self._add(request.operation_id, text)

    async def _checkpoint(self, request: StreamSessionRequest) -> None:
        name = request.checkpoint.name
        self.kept[name] = self.text
        checkpointed = pb.Checkpointed(name=name, offset=len(self.text))
        done = pb.DoneOperation(operation_id=request.operation_id, checkpointed=checkpointed)
        self.change(self.text, done)
        await self.tell(request.operation_id, checkpointed=checkpointed)

    async def _restore(self, request: StreamSessionRequest) -> None:
        name = request.restore.name
        if name not in self.kept:
            code = grpc.StatusCode.NOT_FOUND.value[0]
            rejected = pb.Rejected(status=status_pb2.Status(code=code, message="there is none"))
            done = pb.DoneOperation(operation_id=request.operation_id, rejected=rejected)
            self.change(self.text, done)
            await self.tell(request.operation_id, rejected=rejected)
            return
        if self._fault is Fault.RESTORES_ANOTHER_STATE:
            self._drift = 1
        restored = pb.Restored(name=name, offset=len(self.kept[name]))
        done = pb.DoneOperation(operation_id=request.operation_id, restored=restored)
        self.change(self.kept[name], done)
        await self.tell(request.operation_id, restored=restored)

    async def _rewind(self, request: StreamSessionRequest) -> None:
        offset = len(self.text) - request.rewind.tokens
        if offset < 0:
            status = status_pb2.Status(
                code=grpc.StatusCode.OUT_OF_RANGE.value[0], message="too far"
            )
            rejected = pb.Rejected(status=status)
            done = pb.DoneOperation(operation_id=request.operation_id, rejected=rejected)
            self.change(self.text, done)
            await self.tell(request.operation_id, rejected=rejected)
            return
        rewound = pb.Rewound(offset=offset)
        done = pb.DoneOperation(operation_id=request.operation_id, rewound=rewound)
        self.change(self.text[:offset], done)
        await self.tell(request.operation_id, rewound=rewound)

    async def _copy(self, request: StreamSessionRequest) -> None:
        try:
            copy, forked = self._fork(self, request.fork)
        except KeyError:
            code = grpc.StatusCode.ALREADY_EXISTS
            await self.reject(request.operation_id, code, "a session of this id already exists")
        else:
            await copy._when(lambda: copy.is_safe(copy.revision))
            await self.tell(request.operation_id, forked=forked)

    async def _score(self, request: StreamSessionRequest) -> None:
        total = model.log_probability(self._state, request.score.text)
        await self.tell(request.operation_id, scored=pb.Scored(log_probability=total))

    async def _save(self, request: StreamSessionRequest) -> None:
        if self._fault is not Fault.SAVES_TOO_EARLY:
            async with self.news:
                await self.news.wait_for(lambda: self.is_safe(self.revision))
        await self.tell(request.operation_id, saved=pb.Saved())

    async def _close(self, request: StreamSessionRequest) -> None:
        if not request.close.keep:
            self.ended = True
            if self.durable:
                self._put(Write(self.id, self.header, None))
                await self._when(lambda: self.deleted)
        await self.tell(request.operation_id, closed=pb.Closed())

    async def _cancel(self, request: StreamSessionRequest) -> None:
        target = request.cancel.operation_id
        if target in {waiting.operation_id for waiting in self.queue}:
            self._cancelled.add(target)
            await self.submit_after(target, request.operation_id)
        else:
            await self.reject(request.operation_id, grpc.StatusCode.NOT_FOUND, "there is none")

    async def submit_after(self, target: int, operation_id: int) -> None:
        """Answer a cancel once its target has ended."""
        async with self.news:
            await self.news.wait_for(
                lambda: target not in {waiting.operation_id for waiting in self.queue}
            )
        await self.tell(operation_id, cancelled=pb.Cancelled())

    async def reject(self, operation_id: int, code: grpc.StatusCode, message: str) -> None:
        status = status_pb2.Status(code=code.value[0], message=message)
        await self.tell(operation_id, rejected=pb.Rejected(status=status))

    async def _finish_cancelled(self, request: StreamSessionRequest, offset: int) -> None:
        finished = pb.Finished(reason=pb.FINISH_REASON_CANCELLED, offset=offset)
        if request.WhichOneof("operation") in _CHANGES:
            done = pb.DoneOperation(operation_id=request.operation_id, finished=finished)
            self.change(self.text, done)
        await self.tell(request.operation_id, finished=finished)
