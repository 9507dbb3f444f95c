"""A client that carries out a script, and knows the text that its session must have.

A script is a list of steps, which Hypothesis draws, and shortens when they fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from grpc import aio
from hypothesis import strategies as st
from tests.server.rpc.conftest import Stream, text_of
from tests.server.tiny_cell import SYMBOLS

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.sessions_pb2 import ExportSessionRequest, ImportSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

SEED = 11
WINDOW = 40  # tokens


@dataclass(frozen=True)
class Append:
    text: str


@dataclass(frozen=True)
class Generate:
    tokens: int


@dataclass(frozen=True)
class CompleteAndAccept:
    beam_width: int
    max_tokens: int
    accepted: int  # tokens, at most as many as there are; 0 for all


@dataclass(frozen=True)
class Rewind:
    tokens: int  # at most as many as the session can be rewound


@dataclass(frozen=True)
class Fork:
    """Continue with a copy, and close the original."""


@dataclass(frozen=True)
class ExportAndImport:
    """Continue with an imported copy, and close the original."""


@dataclass(frozen=True)
class Cancel:
    """Cancel a long generate after some answers."""

    answers: int


@dataclass(frozen=True)
class Vanish:
    """Break the stream during a generate, and attach again for the rest."""

    tokens: int
    reads: bool  # whether it gets a chunk before


@dataclass(frozen=True)
class Compare:
    """Compare with a fresh session that has the same text."""


Step = (
    Append | Generate | CompleteAndAccept | Rewind | Fork | ExportAndImport | Cancel | Vanish
) | Compare

TEXTS = st.text(st.sampled_from(SYMBOLS), min_size=1, max_size=20)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Append, TEXTS),
    st.builds(Generate, st.integers(1, 60)),
    st.builds(CompleteAndAccept, st.integers(1, 4), st.integers(1, 8), st.integers(0, 8)),
    st.builds(Rewind, st.integers(0, WINDOW)),
    st.just(Fork()),
    st.just(ExportAndImport()),
    st.builds(Cancel, st.integers(0, 2)),
    st.builds(Vanish, st.integers(1, 300), st.booleans()),
    st.just(Compare()),
)
SCRIPTS = st.lists(STEPS, max_size=15)


class Client:
    """One session, and the text it must have; rewinds keep to what the window allows."""

    def __init__(self, channel: aio.Channel) -> None:
        self.generation = GenerationServiceStub(channel)
        self.sessions = SessionsServiceStub(channel)
        self.stream = Stream(self.generation.StreamSession())
        self.id = ""
        self.text = ""
        self.floor = 0
        self.next_id = 1
        self.methods: dict[type, Callable[..., Awaitable[object]]] = {
            Append: self.append,
            Generate: self.generate,
            CompleteAndAccept: self.complete_and_accept,
            Rewind: self.rewind,
            Fork: self.fork,
            ExportAndImport: self.export_and_import,
            Cancel: self.cancel,
            Vanish: self.vanish,
            Compare: self.compare,
        }

    async def run(self, script: list[Step]) -> None:
        opened = await self.stream.open(
            seed=SEED,
            rewind_window=WINDOW,
            on_disconnect=operations_pb2.ON_DISCONNECT_PAUSE,
        )
        self.id = opened.opened.session_id
        for step in (Append("hello"), *script, Compare()):
            await self.methods[type(step)](step)
        await self.stream.ask(close={})
        await self.stream.end()

    def grow(self, text: str) -> None:
        self.text += text
        self.floor = max(self.floor, len(self.text) - WINDOW)

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    async def append(self, step: Append) -> None:
        appended = (await self.stream.ask(append={"text": step.text})).appended
        self.grow(step.text)
        assert appended.offset == len(self.text)

    async def generate(self, step: Generate) -> None:
        text = await self.stream.generated(self.fresh_id(), step.tokens)
        assert len(text) == step.tokens
        self.grow(text)

    async def complete_and_accept(self, step: CompleteAndAccept) -> None:
        arguments = {"beam_width": step.beam_width, "max_tokens": step.max_tokens}
        completed = (await self.stream.ask(complete=arguments)).completed
        assert completed.offset == len(self.text)
        (best,) = completed.completions
        tokens = min(step.accepted, best.token_count)
        appended = (await self.stream.ask(accept={"tokens": tokens})).appended
        self.grow(best.text[: tokens or None])
        assert appended.offset == len(self.text)

    async def rewind(self, step: Rewind) -> None:
        offset = max(1, self.floor, len(self.text) - step.tokens)
        assert (await self.stream.ask(rewind={"offset": offset})).rewound.offset == offset
        self.text = self.text[:offset]

    async def fork(self, _: Fork) -> None:
        forked = (await self.stream.ask(fork={"seed": SEED})).forked
        await self.stream.ask(close={})
        await self.attach(forked.session_id)

    async def export_and_import(self, _: ExportAndImport) -> None:
        request = ExportSessionRequest(session_id=self.id)
        snapshot = (await self.sessions.ExportSession(request)).snapshot
        await self.stream.ask(close={})
        taken = ImportSessionRequest(snapshot=snapshot)
        imported = (await self.sessions.ImportSession(taken)).session
        assert imported.offset == len(self.text)
        await self.attach(imported.session_id)

    async def cancel(self, step: Cancel) -> None:
        generate = self.fresh_id()
        await self.stream.send(generate, generate={"max_tokens": 10_000})
        answers = [await self.stream.receive() for _ in range(step.answers)]
        await self.stream.send(self.fresh_id(), cancel={"operation_id": generate})
        answers += await self.stream.until("cancelled")
        self.grow(text_of(answers))

    async def vanish(self, step: Vanish) -> None:
        generate = self.fresh_id()
        await self.stream.send(generate, generate={"max_tokens": step.tokens})
        seen = (await self.stream.receive()).chunk.text if step.reads else ""
        self.stream.call.cancel()
        self.grow(seen)
        attached = await self.attach(self.id, takeover=True)
        if generate in attached.operation_ids:
            self.grow(text_of(await self.stream.until("finished")))
        else:
            await self.skip_answers()

    async def skip_answers(self) -> None:
        """Read what was answered to the lost stream, if anything."""
        await self.stream.send(self.fresh_id(), cancel={"operation_id": self.fresh_id()})
        assert not text_of(await self.stream.until("rejected"))

    async def attach(self, session_id: str, *, takeover: bool = False) -> operations_pb2.Attached:
        self.id = session_id
        self.stream = Stream(self.generation.StreamSession())
        arguments = {"session_id": session_id, "offset": len(self.text), "takeover": takeover}
        attached = (await self.stream.ask(attach=arguments)).attached
        self.grow(attached.missed.text)
        assert attached.offset == len(self.text)
        return attached

    async def compare(self, _: Compare) -> None:
        fresh = Stream(self.generation.StreamSession())
        await fresh.open(seed=SEED)
        await fresh.ask(append={"text": self.text})
        score = {"text": "hello", "log_probabilities": True}
        assert (await self.stream.ask(score=score)) == (await fresh.ask(score=score))
        expected = await fresh.generated(self.fresh_id(), 30)
        text = await self.stream.generated(self.fresh_id(), 30)
        assert text == expected
        self.grow(text)
        await fresh.ask(close={})
