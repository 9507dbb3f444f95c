"""Random clients over a real socket, some of which vanish, against what their text alone gives.

Whatever a session went through, it must go on exactly like a fresh one that was given its text.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, Stream, answer_of, running, text_of

from cellwire.server.engine.engine import Engine
from cellwire.server.host.config import Config
from cellwire.server.session.operation_queue import Limits
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.sessions_pb2 import ExportSessionRequest, ImportSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

SEED = 11
WINDOW = 40
SYMBOLS = "abcdefghijklmnopqrstuvwxyz ,.\n世é"


class Client:
    """One session, and the text it must have; rewinds keep to what the window allows."""

    def __init__(self, channel: aio.Channel, dice: random.Random) -> None:
        self.generation = GenerationServiceStub(channel)
        self.sessions = SessionsServiceStub(channel)
        self.dice = dice
        self.stream = Stream(self.generation.StreamSession())
        self.id = ""
        self.text = ""
        self.floor = 0
        self.next_id = 1

    def grow(self, text: str) -> None:
        self.text += text
        self.floor = max(self.floor, len(self.text) - WINDOW)

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    async def open(self) -> None:
        opened = await self.stream.open(
            seed=SEED,
            rewind_window=WINDOW,
            on_disconnect=operations_pb2.ON_DISCONNECT_PAUSE,
        )
        self.id = opened.opened.session_id
        await self.append()

    async def append(self) -> None:
        text = "".join(self.dice.choices(SYMBOLS, k=self.dice.randrange(1, 20)))
        appended = (await self.stream.ask(append={"text": text})).appended
        self.grow(text)
        assert appended.offset == len(self.text)

    async def generate(self) -> None:
        self.grow(await self.stream.generated(self.fresh_id(), self.dice.randrange(1, 60)))

    async def complete_and_accept(self) -> None:
        arguments = {
            "beam_width": self.dice.randrange(1, 5),
            "max_tokens": self.dice.randrange(1, 9),
        }
        completed = (await self.stream.ask(complete=arguments)).completed
        assert completed.offset == len(self.text)
        (best,) = completed.completions
        tokens = self.dice.randrange(best.token_count + 1)
        appended = (await self.stream.ask(accept={"tokens": tokens})).appended
        self.grow(best.text[: tokens or None])
        assert appended.offset == len(self.text)

    async def rewind(self) -> None:
        offset = self.dice.randrange(max(1, self.floor), len(self.text) + 1)
        assert (await self.stream.ask(rewind={"offset": offset})).rewound.offset == offset
        self.text = self.text[:offset]

    async def fork(self) -> None:
        """Go on with a copy, and leave the original."""
        forked = (await self.stream.ask(fork={"seed": SEED})).forked
        await self.stream.ask(close={})
        await self.attach(forked.session_id)

    async def export_and_import(self) -> None:
        request = ExportSessionRequest(session_id=self.id)
        snapshot = (await self.sessions.ExportSession(request)).snapshot
        await self.stream.ask(close={})
        taken = ImportSessionRequest(snapshot=snapshot)
        imported = (await self.sessions.ImportSession(taken)).session
        assert imported.offset == len(self.text)
        await self.attach(imported.session_id)

    async def cancel(self) -> None:
        generate = self.fresh_id()
        await self.stream.send(generate, generate={"max_tokens": 10_000})
        answers = [await self.stream.receive() for _ in range(self.dice.randrange(3))]
        await self.stream.send(self.fresh_id(), cancel={"operation_id": generate})
        answers += await self.stream.until("cancelled")
        self.grow(text_of(answers))

    async def vanish(self) -> None:
        """Break the stream in the middle of a generation, and come back for the rest."""
        generate, length = self.fresh_id(), self.dice.randrange(1, 300)
        await self.stream.send(generate, generate={"max_tokens": length})
        seen = "" if self.dice.random() < 0.5 else (await self.stream.receive()).chunk.text
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

    async def compare(self) -> None:
        """Go on like a fresh session that has the same text."""
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

    async def live(self, operations: int) -> None:
        await self.open()
        choices = [
            self.append,
            self.generate,
            self.complete_and_accept,
            self.rewind,
            self.fork,
            self.export_and_import,
            self.cancel,
            self.vanish,
        ]
        for _ in range(operations):
            await self.dice.choice(choices)()
            if self.dice.random() < 0.4:
                await self.compare()
        await self.compare()
        await self.stream.ask(close={})
        await self.stream.end()


@pytest.mark.parametrize("seed", range(4))
async def test_random_clients_each_have_their_own_text(model: Path, seed: int) -> None:
    config = Config(
        listen="127.0.0.1:0",
        models=(model,),
        sessions=64,
        threads=1,
        limits=Limits(read_ahead_tokens=100),
    )
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        clients = [Client(channel, random.Random(100 * seed + i)) for i in range(8)]
        async with asyncio.timeout(GUARD_S):
            await asyncio.gather(*(client.live(25) for client in clients))
        (served,) = daemon.registry
        assert await answer_of(served, Engine.check_integrity) is None
        assert await answer_of(served, lambda engine: engine._arena.reserved) == 0
