"""Small models of every kind of vocabulary, served on a real socket for a whole module."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from grpc import aio
from tests.server.rpc.conftest import GUARD_S, Stream, running
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.host.config import Config
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub

T = TypeVar("T")

LETTERS = [*"abcdefghilmnoprstuvy ,.;&<>/\n"]
POEM = ["red", "roses", "are", "violets", "blue", ",", ".", "'", "\n", "don't", "-"]

VOCABULARIES: dict[str, dict[str, Any]] = {
    "plain": {"kind": "characters", "symbols": LETTERS},
    "composed": {"kind": "characters", "symbols": [*LETTERS, "é", "ö"], "unicode_form": "NFC"},
    "greek": {"kind": "characters", "symbols": [*"οδυσεύςάλ .", "\u0301"], "lower_case": True},
    "feeds": {
        "kind": "characters",
        "symbols": LETTERS,
        "byte_order_mark": "dropped",
        "line_ends": "line_feeds",
    },
    "spaces": {"kind": "characters", "symbols": LETTERS[:-1], "line_ends": "spaces"},
    "review": {
        "kind": "characters",
        "symbols": LETTERS,
        "html": True,
        "line_ends": "spaces",
        "trim": True,
        "lower_case": True,
    },
    "named": {"kind": "characters", "symbols": [*LETTERS, "<unk>", "the"], "unknown": "<unk>"},
    "words": {
        "kind": "words",
        "symbols": ["<unk>", *POEM, *(f" {word}" for word in POEM if word[0].isalpha()), " "],
        "unknown": "<unk>",
        "byte_order_mark": "dropped",
        "line_ends": "line_feeds",
    },
    "spaced": {
        "kind": "words",
        "symbols": ["<unk>", *(word for word in POEM if word != "\n")],
        "unknown": "<unk>",
        "separator": " ",
        "lower_case": True,
    },
    "bytes": {"kind": "bytes"},
}


class Served:
    """A daemon with all of the models, and an event loop for its clients."""

    def __init__(self, runner: asyncio.Runner, channel: aio.Channel) -> None:
        self.channel = channel
        self._runner = runner
        self.stub = GenerationServiceStub(channel)

    def run(self, coroutine: Awaitable[T]) -> T:
        """Run a client to its end."""

        async def guarded() -> T:
            async with asyncio.timeout(GUARD_S):
                return await coroutine

        return self._runner.run(guarded())

    async def stream(self, model: str, **settings: object) -> Stream:
        """Open a session."""
        stream = Stream(self.stub.StreamSession())
        assert (await stream.open(model=model, seed=7, **settings)).HasField("opened")
        return stream


async def answered(stream: Stream) -> list[StreamSessionResponse]:
    """Read up to the end of a generation; fail if it is rejected."""
    responses = [await stream.receive()]
    while not responses[-1].HasField("finished"):
        assert not responses[-1].HasField("rejected"), responses[-1].rejected.status.message
        responses.append(await stream.receive())
    return responses


async def close(stream: Stream) -> None:
    await stream.send(99, close={})
    await stream.end()


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve all models until the context ends."""
    paths = [
        write_cell(folder / f"{name}.onnx", lstm_cell(8, seed=seed, vocabulary=vocabulary))
        for seed, (name, vocabulary) in enumerate(VOCABULARIES.items())
    ]
    config = Config(listen="127.0.0.1:0", models=tuple(paths), sessions=2_000, threads=1)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> aio.Channel:
            daemon = await stack.enter_async_context(running(config))
            return await stack.enter_async_context(aio.insecure_channel(daemon.address))

        channel = runner.run(start())
        try:
            yield Served(runner, channel)
        finally:
            runner.run(stack.aclose())


def rejection(response: StreamSessionResponse) -> str:
    """Return the message of a rejected operation."""
    assert response.HasField("rejected"), response
    message: str = response.rejected.status.message
    return message
