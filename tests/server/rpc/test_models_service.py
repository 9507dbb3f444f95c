"""Models loaded and unloaded while others are served; bytes, words and labels."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from tests.server.rpc.conftest import OpenStream, Stream, running, until
from tests.server.tiny_cell import labelled_cell, lstm_cell, vast_cell, write_cell

from cellwire.server.errors import Aborted
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import models_pb2, operations_pb2
from cellwire.v1.generation_pb2 import ClassifyRequest, GenerateRequest, ScoreRequest
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub

if TYPE_CHECKING:
    from cellwire.v1.models_pb2_grpc import ModelsServiceAsyncStub

BYTES = {"kind": "bytes"}
WORDS = {
    "kind": "words",
    "symbols": ["go", "on", "stop", "<?>"],
    "separator": " ",
    "unknown": "<?>",
}


@pytest.fixture
async def daemon(model: Path, tmp_path: Path) -> AsyncIterator[Daemon]:
    write_cell(tmp_path / "bytes.onnx", lstm_cell(16, seed=3, vocabulary=BYTES))
    write_cell(tmp_path / "words.onnx", lstm_cell(16, seed=4, vocabulary=WORDS))
    write_cell(tmp_path / "judge.onnx", labelled_cell())
    write_cell(tmp_path / "vast.onnx", vast_cell(2**40))
    write_cell(tmp_path / "boundless.onnx", vast_cell(2**62))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    config = Config(
        listen="127.0.0.1:0", models=(model,), model_folder=tmp_path, sessions=8, threads=1
    )
    async with running(config) as daemon:
        yield daemon


@pytest.fixture
def models(channel: aio.Channel) -> ModelsServiceAsyncStub:
    return ModelsServiceStub(channel)


async def load(models: ModelsServiceAsyncStub, name: str) -> models_pb2.Model:
    return (await models.LoadModel(models_pb2.LoadModelRequest(name=name))).model


async def names(models: ModelsServiceAsyncStub) -> list[str]:
    return [m.name for m in (await models.ListModels(models_pb2.ListModelsRequest())).models]


async def open_on(stream: Stream, model: str, **arguments: object) -> Stream:
    await stream.open(model=model, seed=1, **arguments)
    return stream


async def test_a_model_is_loaded_and_unloaded_while_another_is_served(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    steady = await open_on(open_stream(), "tiny")
    await steady.ask(append={"text": "hello"})
    expected = await steady.generated(2, 500)
    await steady.ask(rewind={"tokens": 10})
    await load(models, "bytes")
    assert await names(models) == ["tiny", "bytes"]
    doomed = await open_on(
        open_stream(), "bytes", on_disconnect=operations_pb2.ON_DISCONNECT_CANCEL
    )
    await doomed.ask(append={"text": "hello"})
    await doomed.send(2, generate={"max_tokens": 1_000_000})
    response = await models.UnloadModel(models_pb2.UnloadModelRequest(name="bytes"))
    assert response.ended_session_count == 1
    assert await doomed.end() == (grpc.StatusCode.ABORTED, "the model 'bytes' was unloaded")
    assert await names(models) == ["tiny"]
    assert await steady.generated(3, 10) == expected[-10:]
    gone = open_stream()
    await gone.send(open={"model": "bytes"})
    assert await gone.call.code() is grpc.StatusCode.NOT_FOUND
    await load(models, "bytes")


async def test_an_unloaded_model_is_freed_and_cannot_be_called(
    models: ModelsServiceAsyncStub, open_stream: OpenStream, daemon: Daemon
) -> None:
    await load(models, "bytes")
    closed, open_still = open_stream(), open_stream()
    await open_on(closed, "bytes", idle_timeout=Duration(seconds=604_800))
    await closed.ask(close={})
    await open_on(open_still, "bytes", idle_timeout=Duration(seconds=604_800))
    model = daemon.registry.find("bytes")
    await models.UnloadModel(models_pb2.UnloadModelRequest(name="bytes"))
    with pytest.raises(Aborted, match="unloaded"):
        await call_engine(model, lambda engine: engine.stats().sessions)
    await open_still.end()
    thread = weakref.ref(model.loop)
    del model

    def freed() -> bool:
        gc.collect()
        return thread() is None

    await until(freed)


@pytest.mark.parametrize(
    ("call", "name", "code"),
    [
        ("LoadModel", "tiny", grpc.StatusCode.ALREADY_EXISTS),
        ("LoadModel", "nobody", grpc.StatusCode.NOT_FOUND),
        ("LoadModel", "../tiny", grpc.StatusCode.NOT_FOUND),
        ("LoadModel", "broken", grpc.StatusCode.INVALID_ARGUMENT),
        ("LoadModel", "vast", grpc.StatusCode.INVALID_ARGUMENT),
        ("LoadModel", "boundless", grpc.StatusCode.INVALID_ARGUMENT),
        ("UnloadModel", "tiny", grpc.StatusCode.FAILED_PRECONDITION),
        ("UnloadModel", "", grpc.StatusCode.FAILED_PRECONDITION),
        ("UnloadModel", "nobody", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_cannot_be_loaded_or_unloaded(
    models: ModelsServiceAsyncStub, call: str, name: str, code: grpc.StatusCode
) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await getattr(models, call)(getattr(models_pb2, f"{call}Request")(name=name))
    assert caught.value.code() is code
    assert await names(models) == ["tiny"]


async def test_text_of_bytes_comes_out_whole(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    assert (await load(models, "bytes")).vocabulary.HasField("bytes")
    alone = await open_on(open_stream(), "bytes")
    pieces = await open_on(open_stream(), "bytes")
    text = "naïve 世界"
    whole = await alone.ask(append={"text": text})
    for byte in text.encode():
        last = await pieces.ask(append={"data": bytes([byte])})
    assert last.appended.offset == whole.appended.offset == len(text.encode())
    generated = await alone.generated(5, 60)
    streamed = ""
    for operation_id in range(10, 70):
        streamed += await pieces.generated(operation_id, 1)
    assert streamed == generated[: len(streamed)]
    assert len(generated) - len(streamed) <= 1  # a character that is not whole yet


async def test_every_byte_has_its_log_probability(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    await load(models, "bytes")
    stream = await open_on(open_stream(), "bytes")
    await stream.ask(append={"text": "a"})
    await stream.send(2, generate={"max_tokens": 500, "log_probabilities": True})
    chunks = [r.chunk for r in await stream.until("finished") if r.HasField("chunk")]
    assert any(len(chunk.text) < chunk.end_offset - chunk.offset for chunk in chunks)
    for chunk in chunks:
        assert len(chunk.log_probabilities) == chunk.end_offset - chunk.offset


async def test_a_character_that_is_not_whole_is_known_after_attaching(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    await load(models, "bytes")
    stream = open_stream()
    opened = (await stream.open(model="bytes")).opened
    await stream.ask(append={"data": "a世".encode()[:3]})
    await stream.ask(close={"keep": True})
    again = open_stream()
    await again.ask(attach={"session_id": opened.session_id})
    await again.send(2, generate={"max_tokens": 8})
    chunk = (await again.receive()).chunk
    assert chunk.offset == 1  # where the character begins that was not whole yet


async def test_rewound_text_is_not_written_again(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    """Nor are bytes that waited for the rest of their character."""
    await load(models, "bytes")
    stream = await open_on(open_stream(), "bytes")
    await stream.ask(append={"text": "hello"})
    for operation_id in range(10, 100):
        await stream.generated(operation_id, 3, sampling={"seed": operation_id})
        await stream.ask(rewind={"tokens": 3})
        await stream.ask(append={"text": "abc"})
        await stream.send(operation_id + 1_000, generate={"max_tokens": 9})
        first, *_ = await stream.until("finished")
        assert first.chunk.offset == 8
        await stream.ask(rewind={"offset": 5})


async def test_words_are_read_and_written(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    await load(models, "words")
    stream = await open_on(
        open_stream(), "words", unknown_symbols=operations_pb2.UNKNOWN_SYMBOLS_REPLACE
    )
    assert (await stream.ask(append={"text": "go on, go"})).appended.offset == 4
    text = await stream.generated(2, 6)
    assert text.count(" ") == 6
    assert set(text.split()) <= {"go", "on", "stop", "<?>"}
    word = operations_pb2.COMPLETION_END_WORD
    answer = await stream.ask(complete={"end": word, "max_tokens": 9})
    assert answer.completed.completions[0].token_count == 1
    rejected = await (await open_on(open_stream(), "words")).ask(append={"text": "go away"})
    assert "'away'" in rejected.rejected.status.message


async def test_a_long_unknown_word_is_named_in_short(
    models: ModelsServiceAsyncStub, channel: aio.Channel
) -> None:
    await load(models, "words")
    request = ScoreRequest(
        open=operations_pb2.Open(model="words"), score=operations_pb2.Score(text="a" * 100_000)
    )
    with pytest.raises(aio.AioRpcError) as caught:
        await GenerationServiceStub(channel).Score(request)
    # A status travels in headers, which cannot hold all of it.
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "does not know the symbol 'aaa" in (caught.value.details() or "")


async def test_labels_have_scores_after_each_append(
    models: ModelsServiceAsyncStub, open_stream: OpenStream, channel: aio.Channel
) -> None:
    model = await load(models, "judge")
    assert (list(model.labels), model.generates) == (["few", "many"], False)
    stream = await open_on(open_stream(), "judge")
    text = "hello"
    for place, symbol in enumerate(text, start=1):
        await stream.ask(append={"text": symbol})
        classified = (await stream.ask(classify={})).classified
        assert classified.offset == place
        request = ClassifyRequest(
            open=operations_pb2.Open(model="judge"),
            prompt=operations_pb2.Append(text=text[:place]),
        )
        whole = await GenerationServiceStub(channel).Classify(request)
        assert whole.classified == classified
        # The cell counts symbols: what it has read, and what it has not of ten.
        assert [s.score for s in classified.scores] == [10.0 - place, float(place)]
    rejected = await stream.ask(generate={"max_tokens": 1})
    assert "only classifies" in rejected.rejected.status.message


async def test_without_a_folder_nothing_is_loaded(model: Path) -> None:
    config = Config(listen="127.0.0.1:0", models=(model,), sessions=2, threads=1)
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await load(ModelsServiceStub(channel), "bytes")
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        request = GenerateRequest(
            prompt=operations_pb2.Append(text="a"), generate=operations_pb2.Generate(max_tokens=3)
        )
        answers = [answer async for answer in GenerationServiceStub(channel).Generate(request)]
        assert len("".join(answer.chunk.text for answer in answers)) == 3
