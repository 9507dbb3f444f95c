"""Random clients at three daemons on one store, which are paused and lose their leases."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import aio
from tests.server.rpc.conftest import GUARD_S, Stream
from tests.server.rpc.durable import FIRST, LATER, begin, serving, stream_to
from tests.server.rpc.several import Cluster, Node, cluster

from cellwire.server.host.config import Config
from cellwire.v1.generation_pb2 import StreamSessionResponse

__all__ = ["cluster"]

SEED = 7
PATIENCE_S = 0.3  # of a client, with a daemon that may be paused
LETTERS = "abcdefgh"
STALE = "never"


class Lost(Exception):
    """The stream has ended, or does not answer."""


class Chaos:
    """Pauses daemons, lets leases run out, and lets daemons go on."""

    def __init__(self, cluster: Cluster, nodes: list[Node], source: random.Random) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._random = source
        self.events = Counter[str]()

    def tick(self) -> None:
        """Let something happen, or nothing."""
        paused = [node for node in self._nodes if not node.goes_on.is_set()]
        choice = self._random.random()
        if choice < 0.08 and not paused:
            self._random.choice(self._nodes).pause()
            self.events["paused"] += 1
        if choice < 0.15:
            self._cluster.run_out()
            self.events["run out"] += 1
        elif choice < 0.35 and paused:
            paused[0].resume()
            self.events["resumed"] += 1

    def rest(self) -> None:
        for node in self._nodes:
            node.resume()


class Client:
    """The client of one session: it appends and generates, at any daemon, and never gives up.

    What it knows of the text: `text` up to its last answer, of which `safe` tokens are safe; and
    the operations without an answer. `parts` are the operations whose results are in the text.
    """

    def __init__(
        self, number: int, durability: str, cluster: Cluster, nodes: list[Node], chaos: Chaos
    ) -> None:
        self.id = f"{number:032x}"
        self.durability = durability
        self._cluster = cluster
        self._nodes = nodes
        self._chaos = chaos
        self._random = random.Random(number)
        self._stream: Stream | None = None
        self._stale: list[Stream] = []
        self.text = ""
        self.safe = 0
        self.revision = 0
        self.parts: list[tuple[str, int, int]] = []  # what, from where, up to where
        self._sent: tuple[str, str] | None = None  # without an answer
        self._operation_id = 0
        self.attaches = 0

    async def open(self) -> None:
        channel = self._nodes[0].channel
        self._stream = await begin(
            channel, self.durability, self.id, text="", idle_timeout={"seconds": 600_000}
        )

    async def step(self) -> None:
        try:
            if self._stream is None or self._random.random() < 0.2:
                await self._attach()
            elif self._random.random() < 0.15 and self._stale:
                await self._use_stale()
            elif self._random.random() < 0.5:
                await self._append()
            else:
                await self._generate()
        except Lost:
            self._leave()
        self._chaos.tick()

    def _leave(self) -> None:
        if self._stream is not None:
            self._stale.append(self._stream)
        self._stream = None

    async def _receive(self, stream: Stream) -> StreamSessionResponse:
        try:
            async with asyncio.timeout(PATIENCE_S):
                response = await stream.call.read()
        except (TimeoutError, aio.AioRpcError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise
            raise Lost from error
        if not isinstance(response, StreamSessionResponse):
            raise Lost
        self._check_safe(response)
        return response

    def _check_safe(self, response: StreamSessionResponse) -> None:
        """What is called safe is in the store, and stays."""
        if not response.HasField("safe"):
            return
        head = self._cluster.shared.store.head(self.id)
        assert head.revision >= response.safe.revision
        assert head.length >= response.safe.offset

    async def _answer(self) -> StreamSessionResponse:
        assert self._stream is not None
        response = await self._receive(self._stream)
        self.safe = max(self.safe, response.safe.offset)
        self.revision = max(self.revision, response.safe.revision)
        if response.WhichOneof("answer") == "saved":
            return await self._answer()
        if self.durability == FIRST:
            assert response.safe.revision >= response.revision
        return response

    async def _answer_to_last(self) -> StreamSessionResponse:
        """Return an answer to the last operation; those before it may have ended meanwhile."""
        while (response := await self._answer()).operation_id != self._operation_id:
            assert not response.HasField("chunk")
        return response

    async def _attach(self) -> None:
        self._leave()
        self.attaches += 1
        stream = stream_to(self._random.choice(self._nodes).channel)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await stream.send(attach={"session_id": self.id, "offset": 0, "takeover": True})
        except (TimeoutError, aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise Lost from error
        self._stream = stream
        attached = await self._answer()
        assert attached.HasField("attached"), attached
        assert attached.revision >= self.revision
        sent = self._sent
        self._take(attached.attached.missed.text)
        await self._hear_out(set(attached.attached.operation_ids), sent)

    async def _hear_out(self, running: set[int], sent: tuple[str, str] | None) -> None:
        """Wait for an operation that the session still has, for it is where it was."""
        while running:
            assert sent is not None
            self._sent = sent
            response = await self._answer()
            if response.HasField("chunk"):
                self._take(self.text + response.chunk.text)
            elif response.HasField("appended") and response.appended.offset > len(self.text):
                self._take(self.text + sent[1])
            if not response.HasField("chunk"):
                running.discard(response.operation_id)
        self._sent = None

    def _take(self, text: str) -> None:
        """Take a text that the session has, and note what it consists of."""
        assert STALE not in text
        assert len(text) >= self.safe
        if len(text) <= len(self.text):
            assert self.text.startswith(text)
            self.parts = [(w, a, min(b, len(text))) for w, a, b in self.parts if a < len(text)]
        else:
            assert text.startswith(self.text)
            assert self._sent is not None
            what, appended = self._sent
            more = text[len(self.text) :]
            assert what == "generate" or more == appended
            self.parts.append((what, len(self.text), len(text)))
        self.text = text

    async def _send(self, what: str, text: str = "", **operation: object) -> None:
        assert self._stream is not None
        self._operation_id += 1
        self._sent = (what, text)
        try:
            await self._stream.send(self._operation_id, **operation)
        except (aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise Lost from error

    async def _append(self) -> None:
        text = "".join(self._random.choices(LETTERS, k=self._random.randint(1, 5))) + " "
        await self._send("append", text, append={"text": text})
        response = await self._answer_to_last()
        assert response.appended.offset == len(self.text) + len(text)
        self._take(self.text + text)
        self._sent = None

    async def _generate(self) -> None:
        if not self.text:
            return
        count = self._random.randint(1, 40)
        await self._send("generate", generate={"max_tokens": count})
        while not (response := await self._answer_to_last()).HasField("finished"):
            assert response.HasField("chunk"), response
            self._take(self.text + response.chunk.text)
        self._sent = None

    async def _use_stale(self) -> None:
        """Go on with a stream that was left: nothing of that may ever be there."""
        stream = self._stale.pop()
        try:
            await stream.send(99_999, append={"text": STALE})
            while True:
                response = await self._receive(stream)
                if response.operation_id == 99_999 and self.durability == FIRST:
                    assert not response.HasField("appended"), "a lost session has answered"
        except (Lost, aio.AioRpcError, asyncio.InvalidStateError):
            stream.call.cancel()


@pytest.mark.parametrize("seed", range(4))
async def test_texts_never_fork(model: Path, cluster: Cluster, seed: int) -> None:
    config = Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5, max_resident=1)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(cluster.serving(config)) for _ in range(3)]
        chaos = Chaos(cluster, nodes, random.Random(seed))
        clients = [
            Client(10 * seed + number, (LATER, FIRST)[number % 2], cluster, nodes, chaos)
            for number in range(4)
        ]

        async def drive(client: Client) -> None:
            await client.open()
            for _ in range(30):
                await client.step()

        async with asyncio.timeout(2 * GUARD_S):
            await asyncio.gather(*map(drive, clients))
        chaos.rest()
        for client in clients:
            async with asyncio.timeout(GUARD_S):
                while True:
                    try:
                        await client._attach()
                        break
                    except Lost:
                        client._leave()
    assert min(chaos.events["run out"], sum(c.attaches for c in clients)) > 3
    for client in clients:
        await check_text(replace(config, max_resident=None), client)


async def check_text(config: Config, client: Client) -> None:
    """Check that a session that never moved gives the same text."""
    async with serving(config) as (_, channel):
        stream = await begin(channel, None, client.id, text="")
        for number, (what, start, end) in enumerate(client.parts, 1):
            if what == "append":
                await stream.send(number, append={"text": client.text[start:end]})
                assert (await stream.receive()).appended.offset == end
            else:
                assert await stream.generated(number, end - start) == client.text[start:end]
