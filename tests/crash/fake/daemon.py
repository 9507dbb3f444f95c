"""A daemon in this process: the contract's streams over a plain model, and a store that loses."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

from grpc import StatusCode, aio
from tests.crash.fake.faults import Fault
from tests.crash.fake.session import FakeSession
from tests.crash.fake.store import FakeStore, Version, Write

from cellwire.v1 import operations_pb2 as pb
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)

_numbers = itertools.count(1)

Context = aio.ServicerContext[StreamSessionRequest, StreamSessionResponse]


class FakeDaemon:
    """The daemon that a service starts and ends; the store stays."""

    def __init__(self, seed: int = 0, fault: Fault | None = None) -> None:
        self._store = FakeStore(Random(f"store {seed}"), fault)
        self._fault = fault

    async def start(self) -> str:
        self._process = FakeProcess(self._store, self._fault)  # type: ignore[abstract]
        self._server = aio.server()
        add_GenerationServiceServicer_to_server(self._process, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def kill(self) -> None:
        await self._process.end()
        self._store.crash()
        await asyncio.shield(self._server.stop(None))

    async def terminate(self) -> None:
        if self._fault is Fault.LOSES_ON_TERMINATE:
            await self.kill()
            return
        await self._process.end()
        self._store.flush()
        await asyncio.shield(self._server.stop(None))

    async def stop(self) -> None:
        await self.terminate()

    async def pause(self, seconds: float) -> None:
        """Pass: the clients share its thread."""

    def freeze(self) -> None:
        raise NotImplementedError

    def go_on(self) -> None:
        raise NotImplementedError

    async def fill_disk(self, seconds: float) -> None:
        """Let the store take nothing for a while."""
        self._store.full = True
        await asyncio.sleep(seconds)
        self._store.full = False

    async def kill_while_starting(self, after_s: float) -> None:
        """Pass: there is nothing to read at the start."""


class FakeProcess(GenerationServiceServicer):
    """What a killed daemon loses: its sessions, their tasks, and what waits for the store."""

    def __init__(self, store: FakeStore, fault: Fault | None) -> None:
        self._store = store
        self._fault = fault
        self._sessions: dict[str, FakeSession] = {}
        self._closed: set[str] = set()
        self._attachments = 0
        self._tasks = {asyncio.create_task(store.run())}
        store.tell = self._note_safe

    async def end(self) -> None:
        """Stop all work; what waits for the store stays there."""
        self._store.tell = lambda _: None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note_safe(self, write: Write) -> None:
        session = self._sessions.get(write.session_id)
        if session is not None and write.version is not None:
            self._start(session.note_safe(write.version))
        elif session is not None:
            self._start(session.note_deleted())

    def _start(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def StreamSession(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[StreamSessionRequest], context: Context
    ) -> AsyncIterator[StreamSessionResponse]:
        first = await anext(requests)
        kind = first.WhichOneof("operation")
        session = await (self._open if kind == "open" else self._attach)(first, context)
        self._attachments += 1
        number = session.attachment = self._attachments
        reading = asyncio.create_task(self._read(session, requests))
        self._tasks.add(reading)
        try:
            answer = self._first_answer(session, first)
            session.going.set()
            yield await self._when_safe(session, answer)
            async for response in self._answers(session, number, reading):
                yield response
            if session.attachment != number:
                await context.abort(StatusCode.ABORTED, "taken over")
            session.attachment = 0
        finally:
            reading.cancel()
            if session.attachment == number:
                await self._detach(session)

    async def _open(self, first: StreamSessionRequest, context: Context) -> FakeSession:
        session_id = first.open.session_id or f"{next(_numbers):032x}"
        if session_id in self._sessions or self._store.wake(session_id):
            await context.abort(StatusCode.ALREADY_EXISTS, "there is such a session")
        session = self._add(session_id, first.open, Version())
        if session.durable:
            self._store.put(Write(session_id, first.open, Version()))
            if first.open.durability == pb.DURABILITY_SAFE_FIRST:
                async with session.news:
                    await session.news.wait_for(lambda: session.safe is not None)
        return session

    def _add(self, session_id: str, header: pb.Open, version: Version) -> FakeSession:
        put, fault = self._store.put, self._fault
        session = FakeSession(session_id, header, version, put, self._fork, fault)
        self._sessions[session_id] = session
        self._start(session.run())
        return session

    def _fork(self, session: FakeSession, fork: pb.Fork) -> tuple[FakeSession, pb.Forked]:
        copy_id = fork.session_id or f"{next(_numbers):032x}"
        if copy_id in self._sessions or self._store.wake(copy_id):
            raise KeyError(copy_id)
        header = pb.Open()
        header.CopyFrom(session.header)
        header.seed = fork.seed
        text = session.text
        if self._fault is Fault.FORK_FOLLOWS_PARENT:
            text = text[:-1] + "é"
        copy = self._add(copy_id, header, Version())
        copy.change(text)
        return copy, pb.Forked(session_id=copy_id, seed=fork.seed, offset=len(text))

    async def _attach(self, first: StreamSessionRequest, context: Context) -> FakeSession:
        session_id = first.attach.session_id
        session = self._sessions.get(session_id)
        if session is None and session_id not in self._closed:
            found = self._store.wake(session_id)
            if found is not None:
                session = self._add(session_id, *found)
                session.wake()
        if session is None or session.ended:
            await context.abort(StatusCode.NOT_FOUND, "there is no such session")
            raise AssertionError
        if first.attach.offset > len(session.text):
            await context.abort(StatusCode.OUT_OF_RANGE, "the text is shorter")
        return session

    def _first_answer(
        self, session: FakeSession, first: StreamSessionRequest
    ) -> StreamSessionResponse:
        response = StreamSessionResponse(operation_id=first.operation_id)
        if first.WhichOneof("operation") == "open":
            response.opened.session_id = session.id
        else:
            response.attached.CopyFrom(_attached(session, first.attach))
            finals = [
                r for r in session.outbox if r.operation_id and r.WhichOneof("answer") != "chunk"
            ]
            session.outbox = finals
        response.revision = session.revision
        return response

    async def _when_safe(
        self, session: FakeSession, response: StreamSessionResponse
    ) -> StreamSessionResponse:
        """Wait with a first answer as with any other."""
        if self._holds(session):
            async with session.news:
                await session.news.wait_for(lambda: session.is_safe(response.revision))
        return self._stamped(session, response, response.revision)

    def _stamped(
        self, session: FakeSession, response: StreamSessionResponse, revision: int
    ) -> StreamSessionResponse:
        if session.durable:
            response.revision = revision
            if session.safe is not None:
                response.safe.CopyFrom(session.safe)
        return response

    async def _read(
        self, session: FakeSession, requests: AsyncIterator[StreamSessionRequest]
    ) -> None:
        with suppress(Exception):
            async for request in requests:
                if request.WhichOneof("operation") == "cancel":
                    self._start(session.submit(request))
                else:
                    await session.submit(request)
            async with session.news:
                await session.news.wait_for(lambda: not session.queue)

    async def _answers(
        self, session: FakeSession, number: int, reading: asyncio.Task[None]
    ) -> AsyncIterator[StreamSessionResponse]:
        """Return answers until a close, a half-close, or another stream."""
        reading.add_done_callback(lambda _: self._start(session.note_end()))

        def over() -> bool:
            return session.attachment != number or (reading.done() and not session.outbox)

        while True:
            async with session.news:
                await session.news.wait_for(lambda: over() or self._ready(session))
            if over():
                return
            response = session.outbox.pop(0)
            yield self._stamped(session, response, response.revision)
            if response.WhichOneof("answer") == "closed":
                if session.ended:
                    self._sessions.pop(session.id, None)
                    self._closed.add(session.id)
                return

    def _ready(self, session: FakeSession) -> bool:
        if not session.outbox:
            return False
        return not self._holds(session) or session.is_safe(session.outbox[0].revision)

    def _holds(self, session: FakeSession) -> bool:
        at_once = self._fault is Fault.TELLS_SAFE_FIRST_AT_ONCE
        return session.header.durability == pb.DURABILITY_SAFE_FIRST and not at_once

    async def _detach(self, session: FakeSession) -> None:
        session.attachment = 0
        if session.header.on_disconnect == pb.ON_DISCONNECT_CANCEL:
            await session.cancel_all()
        elif session.header.on_disconnect == pb.ON_DISCONNECT_PAUSE:
            session.going.clear()


def _attached(session: FakeSession, attach: pb.Attach) -> pb.Attached:
    offset = attach.offset if attach.HasField("offset") else len(session.text)
    attached = pb.Attached(
        session_id=session.id,
        offset=len(session.text),
        operation_ids=[request.operation_id for request in session.queue],
        done=session.done,
    )
    if offset < len(session.text):
        attached.missed.offset = offset
        attached.missed.text = session.text[offset:]
        attached.missed.end_offset = len(session.text)
    return attached
