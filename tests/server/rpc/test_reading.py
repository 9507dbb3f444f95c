"""Messages that would take long to read: refused before, or read in another thread."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from grpc import aio
from tests.server.rpc.conftest import OpenStream

from cellwire.model_file.byte_vocabulary import Bytes
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Reading, TextEnd, Tokens, Unknown
from cellwire.server.errors import InvalidArgument
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.settings import Settings
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.rpc.reading import Reader
from cellwire.v1 import generation_pb2, operations_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub


class ShortTexts(Bytes):
    """Must not be given a text that is longer than any symbol or stop string may be."""

    def _tokens_of(self, text: str, unknown: Unknown) -> Tokens:
        assert len(text) < 20_000, "a text that is too long has been read"
        assert text != "unread", "a text has been read before all were counted"
        return super()._tokens_of(text, unknown)


@pytest.fixture
def reader() -> Reader:
    vocabulary = ShortTexts(VocabularyFacts("bytes"))
    cell = SimpleNamespace(generates=True)
    model = SimpleNamespace(vocabulary=vocabulary, cell=cell, max_top_k=99)
    return Reader(cast("ServedModel", model), Settings())


def bias(symbol: str) -> operations_pb2.LogitBias:
    return operations_pb2.LogitBias(symbol=symbol, bias=1)


@pytest.mark.parametrize(
    ("generate", "words"),
    [
        ({"stop_strings": ["unread"] * 17}, "16 are the most"),
        ({"stop_strings": ["a", ""]}, "has an empty string"),
        ({"stop_strings": ["a" * 1_000_000]}, "has 1,000,000 characters, .* rewind_window of 64"),
        ({"stop_strings": ["a" * 65]}, "has 65 tokens, .* rewind_window of 64"),
        ({"sampling": {"logit_bias": [bias("unread")] * 257}}, "has 257 symbols, and 256 are"),
        ({"sampling": {"logit_bias": [bias("a" * 1_000_000)]}}, "single symbols"),
        ({"sampling": {"logit_bias": [bias("ab")]}}, "single symbols; 'ab' is not one"),
        ({"sampling": {"logit_bias": [bias("a"), bias("a")]}}, "a symbol twice"),
        ({"sampling": {"top_k": 1_000}}, "top_k is 1,000; .* at most 99, or 0, .* all 256 symbols"),
    ],
)
def test_messages_beyond_a_limit_are_refused_before_they_are_read(
    reader: Reader, generate: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        reader.generate(1, operations_pb2.Generate(max_tokens=1, **generate))


def test_a_message_at_its_limits_is_read(reader: Reader) -> None:
    biases = [bias(chr(code)) for code in range(128)]
    message = operations_pb2.Generate(
        max_tokens=1,
        stop_strings=[letter * 64 for letter in "abcdefghijklmnop"],
        sampling=operations_pb2.Sampling(logit_bias=biases, top_k=99),
    )
    generate = reader.generate(1, message)
    assert (len(generate.stop_strings), len(generate.sampling.logit_bias)) == (16, 128)


def test_a_text_of_too_many_tokens_is_refused() -> None:
    vocabulary = Bytes(VocabularyFacts("bytes"))
    cell = SimpleNamespace(generates=True)
    model = SimpleNamespace(vocabulary=vocabulary, cell=cell, max_top_k=99)
    settings = Settings()
    with pytest.raises(InvalidArgument, match="has 1,200,000 tokens"):
        Reader(cast("ServedModel", model), settings).append(
            1, operations_pb2.Append(text="世" * 400_000)
        )


@pytest.fixture
def reading_threads(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which texts are read, in their order."""
    threads: list[int] = []
    vocabulary = daemon.registry.find("").vocabulary
    read = vocabulary.read

    def noted(text: str, unknown: Unknown, after: TextEnd) -> Reading:
        threads.append(threading.get_ident())
        return read(text, unknown, after)

    monkeypatch.setattr(vocabulary, "read", noted)
    return threads


async def test_a_long_text_of_a_single_call_is_read_in_another_thread(
    channel: aio.Channel, reading_threads: list[int]
) -> None:
    prompt = operations_pb2.Append(text="hello" * 2_001)
    short = operations_pb2.Append(text="hello")
    stub = GenerationServiceStub(channel)
    for text in (prompt, short):
        score = operations_pb2.Score(text="a")
        await stub.Score(generation_pb2.ScoreRequest(prompt=text, score=score))
        complete = operations_pb2.Complete(max_tokens=1)
        await stub.Complete(generation_pb2.CompleteRequest(prompt=text, complete=complete))
        generate = operations_pb2.Generate(max_tokens=1)
        call = stub.Generate(generation_pb2.GenerateRequest(prompt=text, generate=generate))
        assert [answer async for answer in call]
    here = threading.get_ident()
    # A score reads two texts, the others one.
    assert [thread == here for thread in reading_threads] == [
        *(False, True, False, False),
        *(True, True, True, True),
    ]


async def test_a_long_text_of_a_stream_is_read_in_another_thread(
    open_stream: OpenStream, reading_threads: list[int]
) -> None:
    stream = open_stream()
    await stream.open()
    for text in ("hello", "hello" * 2_001, "hello"):
        assert (await stream.ask(append={"text": text})).HasField("appended")
    here = threading.get_ident()
    assert [thread == here for thread in reading_threads] == [True, False, True]
