"""A daemon that keeps the contract and whose model knows one thing: the alphabet.

It goes on from a session's last letter: after `c` come `d`, `e`, ... and after `z` comes `a`. It
knows the letters a to z and the space. Every character has log-probability -0.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cellwire.v1 import models_pb2, operations_pb2
from cellwire.v1.generation_pb2 import (
    GenerateRequest,
    GenerateResponse,
    SessionRequest,
    SessionResponse,
)
from cellwire.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)
from cellwire.v1.models_pb2_grpc import ModelsServiceServicer, add_ModelsServiceServicer_to_server
from cellwire.v1.operations_pb2 import Append, Cancel, Chunk, Finished, Generate, Opened, Usage

if TYPE_CHECKING:
    _SessionContext = grpc.aio.ServicerContext[SessionRequest, SessionResponse]
    _GenerateContext = grpc.aio.ServicerContext[GenerateRequest, GenerateResponse]

ALPHABET = models_pb2.Model(
    name="alphabet",
    cell="lstm",
    layers=2,
    hidden=26,
    vocabulary=models_pb2.Vocabulary(
        characters=models_pb2.Characters(symbols=[*ascii_lowercase, " "])
    ),
    state_bytes=416,
    provider="CPUExecutionProvider",
    training=models_pb2.Training(corpus="primer", steps=3, validation_bits_per_character=0.125),
)
UNTRAINED = models_pb2.Model(name="untrained", cell="gru", layers=1, hidden=4, provider="Other")


def letters(after: str, count: int) -> str:
    """Return what the alphabet's model writes."""
    start = ascii_lowercase.find(after) + 1
    return (ascii_lowercase * (count // 26 + 2))[start : start + count]


class Refused(Exception):  # a word of the contract
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class FakeDaemon:
    """Set the fields before a call to script it; wait for the events to know where it is."""

    chunk_chars: int = 1
    pause_at: int | None = None
    """Generations stop after so many characters, until they are cancelled."""
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream or call has ended, for whatever reason."""
    log: list[str] = field(default_factory=list)
    written_chars: dict[str, int] = field(default_factory=dict)
    """By session id."""

    async def start(self) -> None:
        self._server = grpc.aio.server()
        add_GenerationServiceServicer_to_server(_Generation(self), self._server)
        add_ModelsServiceServicer_to_server(_Models(), self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)


class _Models(ModelsServiceServicer):
    async def ListModels(  # noqa: N802  # the contract's name
        self,
        request: models_pb2.ListModelsRequest,  # noqa: ARG002  # grpc passes it
        context: object,  # noqa: ARG002  # likewise
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=[ALPHABET, UNTRAINED])


class _Generation(GenerationServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    # It writes with context.write, which the stubs' types do not know.
    async def Session(  # type: ignore[override]  # noqa: N802  # the contract's name
        self, request_iterator: AsyncIterator[SessionRequest], context: _SessionContext
    ) -> None:
        name = f"session {len(self._daemon.written_chars)}"
        session = _Session(self._daemon, name, context)
        try:
            await session.run(request_iterator)
        except Refused as error:
            await context.abort(error.code, str(error))
        finally:
            self._daemon.gone.set()

    async def Generate(  # noqa: N802  # the contract's name
        self, request: GenerateRequest, context: _GenerateContext
    ) -> AsyncIterator[GenerateResponse]:
        text = _Text(self._daemon, "call")
        try:
            text.open(request.open)
            text.append(request.prompt)
            async for chunk in text.generate(request.generate):
                yield GenerateResponse(chunk=chunk)
            finished = text.finished(operations_pb2.FINISH_REASON_MAX_CHARS)
            yield GenerateResponse(finished=finished)
        except Refused as error:
            await context.abort(error.code, str(error))
        finally:
            self._daemon.gone.set()


class _Text:
    """A session's text."""

    def __init__(self, daemon: FakeDaemon, name: str) -> None:
        self.daemon = daemon
        self.name = name
        self.text = ""
        self.written = 0
        daemon.written_chars[name] = 0

    def open(self, message: operations_pb2.Open) -> Opened:
        if message.model not in {"", ALPHABET.name}:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no model is called {message.model!r}")
        seed = message.seed if message.HasField("seed") else 42
        return Opened(session_id=self.name, model=ALPHABET, seed=seed)

    def append(self, message: Append) -> operations_pb2.Appended:
        for offset, symbol in enumerate(message.text):
            if symbol not in ALPHABET.vocabulary.characters.symbols:
                reason = f"the model does not know {symbol!r} (offset {offset})"
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, reason)
        self.text += message.text
        return operations_pb2.Appended(
            offset=len(self.text), log_probability=-0.5 * len(message.text)
        )

    async def generate(self, message: Generate) -> AsyncIterator[Chunk]:
        if not self.text:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the session has no text yet")
        text = letters(self.text[-1], message.max_chars)
        self.written = 0
        while self.written < message.max_chars:
            if self.written == self.daemon.pause_at:
                self.daemon.paused.set()
                await asyncio.Event().wait()
            piece = text[self.written : self.written + self.daemon.chunk_chars]
            scores = [-0.5] * len(piece) if message.log_probabilities else []
            chunk = Chunk(offset=len(self.text), text=piece, log_probabilities=scores)
            self.text += piece
            self.written += len(piece)
            self.daemon.written_chars[self.name] += len(piece)
            yield chunk

    def finished(self, reason: operations_pb2.FinishReason.ValueType) -> Finished:
        usage = Usage(generated_chars=self.written)
        return Finished(reason=reason, offset=len(self.text), usage=usage)


class _Session:
    """One stream: operations in order, one at a time; cancel overtakes."""

    def __init__(self, daemon: FakeDaemon, name: str, context: _SessionContext) -> None:
        self._text = _Text(daemon, name)
        self._log = daemon.log
        self._context = context
        self._writing = asyncio.Lock()
        self._waiting: asyncio.Queue[SessionRequest | None] = asyncio.Queue()
        self._running: tuple[int, asyncio.Task[None]] | None = None

    async def run(self, requests: AsyncIterator[SessionRequest]) -> None:
        receiver = asyncio.create_task(self._receive(requests))
        try:
            while (request := await self._waiting.get()) is not None:
                kind = request.WhichOneof("operation")
                self._log.append(str(kind))
                task = asyncio.create_task(self._answer(request))
                self._running = (request.operation_id, task)
                await asyncio.wait([task])
                await self._conclude(request, task)
                if kind == "close":
                    break
        finally:
            receiver.cancel()
            if self._running is not None:
                self._running[1].cancel()

    async def _receive(self, requests: AsyncIterator[SessionRequest]) -> None:
        async for request in requests:
            if request.WhichOneof("operation") == "cancel":
                await self._cancel(request.operation_id, request.cancel)
            else:
                self._waiting.put_nowait(request)
        self._waiting.put_nowait(None)

    async def _cancel(self, operation_id: int, message: Cancel) -> None:
        self._log.append("cancel")
        if self._running is not None and self._running[0] == message.operation_id:
            self._running[1].cancel()
        cancelled = operations_pb2.Cancelled()
        await self._send(SessionResponse(operation_id=operation_id, cancelled=cancelled))

    async def _answer(self, request: SessionRequest) -> None:
        answer = SessionResponse(operation_id=request.operation_id)
        match request.WhichOneof("operation"):
            case "open":
                answer.opened.CopyFrom(self._text.open(request.open))
            case "append":
                answer.appended.CopyFrom(self._text.append(request.append))
            case "close":
                answer.closed.SetInParent()
            case "generate":
                async for chunk in self._text.generate(request.generate):
                    # A write that is cancelled would end the whole call.
                    response = SessionResponse(operation_id=request.operation_id, chunk=chunk)
                    await asyncio.shield(self._send(response))
                reason = operations_pb2.FINISH_REASON_MAX_CHARS
                answer.finished.CopyFrom(self._text.finished(reason))
        await self._send(answer)

    async def _conclude(self, request: SessionRequest, task: asyncio.Task[None]) -> None:
        """Answer for an operation that failed or was cancelled."""
        answer = SessionResponse(operation_id=request.operation_id)
        if task.cancelled():
            reason = operations_pb2.FINISH_REASON_CANCELLED
            answer.finished.CopyFrom(self._text.finished(reason))
        elif isinstance(error := task.exception(), Refused):
            if request.WhichOneof("operation") == "open":
                raise error
            answer.rejected.status.code = error.code.value[0]
            answer.rejected.status.message = str(error)
        else:
            return
        await self._send(answer)

    async def _send(self, response: SessionResponse) -> None:
        async with self._writing:
            await self._context.write(response)
