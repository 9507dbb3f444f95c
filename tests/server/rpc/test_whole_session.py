"""The operations of a session over a socket, compared with fresh sessions of the same text."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from tests.server.rpc.conftest import OpenStream, Stream, holding_up, text_of

from cellwire.server.rpc.daemon import Daemon
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import CompleteRequest, ScoreRequest
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub

SEED = 5
ids = itertools.count(100)

Fresh = Callable[[str], Awaitable[Stream]]


@pytest.fixture
def fresh(open_stream: OpenStream) -> Fresh:
    """Open a session with a text, always with the same seed."""

    async def make(text: str) -> Stream:
        stream = open_stream()
        await stream.open(seed=SEED)
        if text:
            await stream.ask(append={"text": text})
        return stream

    return make


async def writes(stream: Stream, max_tokens: int = 40, **sampling: object) -> str:
    return await stream.generated(next(ids), max_tokens, sampling=sampling)


async def test_a_rewound_session_continues_like_a_shorter_one(fresh: Fresh) -> None:
    stream = await fresh("hello world")
    text = "hello world" + await writes(stream, 60)
    for back in (1, 3, 20, 30):  # 54 of a window of 64
        text = text[: len(text) - back]
        assert (await stream.ask(rewind={"tokens": back})).rewound.offset == len(text)
        assert await writes(stream, 5) == await writes(await fresh(text), 5)
        assert (await stream.ask(rewind={"offset": len(text)})).rewound.offset == len(text)


async def test_a_rewind_beyond_the_window_says_how_far_it_can_go(fresh: Fresh) -> None:
    stream = await fresh("a" * 100)
    rejected = (await stream.ask(rewind={"tokens": 65})).rejected.status
    assert rejected.code == grpc.StatusCode.OUT_OF_RANGE.value[0]
    assert "rewound to 36 at the earliest" in rejected.message
    assert (await stream.ask(rewind={"offset": 36})).rewound.offset == 36
    assert await writes(stream) == await writes(await fresh("a" * 36))


async def test_a_completion_is_scored_as_its_append_would_be(fresh: Fresh) -> None:
    stream = await fresh("hello wor")
    answer = await stream.ask(complete={"beam_width": 4, "completion_count": 3, "max_tokens": 6})
    completions = answer.completed.completions
    assert answer.completed.offset == 9
    assert len(completions) == 3
    for completion in completions:
        appended = await (await fresh("hello wor")).ask(append={"text": completion.text})
        assert completion.log_probability == appended.appended.log_probability
        assert completion.token_count == len(completion.text) == 6
    greedy = await writes(await fresh("hello wor"), 6, temperature=0)
    least = (await (await fresh("hello wor")).ask(append={"text": greedy})).appended
    assert completions[0].log_probability >= least.log_probability
    assert await writes(stream) == await writes(await fresh("hello wor"))


@pytest.mark.parametrize("tokens", [0, 1, 4])
async def test_accepting_is_appending(fresh: Fresh, tokens: int) -> None:
    stream = await fresh("hello wor")
    answer = await stream.ask(complete={"max_tokens": 6})
    text = answer.completed.completions[0].text[: tokens or None]
    appended = (await stream.ask(accept={"tokens": tokens})).appended
    other = await fresh("hello wor")
    assert appended == (await other.ask(append={"text": text})).appended
    assert await writes(stream) == await writes(other)
    again = (await stream.ask(accept={})).rejected.status
    assert again.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]


async def test_completions_end_with_words_and_lines(fresh: Fresh) -> None:
    stream = await fresh("hello wor")
    word = operations_pb2.COMPLETION_END_WORD
    completions = (
        await stream.ask(
            complete={"beam_width": 20, "completion_count": 20, "max_tokens": 9, "end": word}
        )
    ).completed.completions
    ended = [completion.text for completion in completions if completion.ended]
    assert ended
    assert all(text[-2].isalpha() and not text[-1].isalpha() for text in ended)
    assert all(text[:-1].strip(" ,.\n").isalpha() for text in ended)
    line = operations_pb2.COMPLETION_END_LINE
    completions = (
        await stream.ask(
            complete={"beam_width": 20, "completion_count": 20, "max_tokens": 9, "end": line}
        )
    ).completed.completions
    assert all(c.ended == c.text.endswith("\n") for c in completions)
    assert all("\n" not in c.text[:-1] for c in completions)


async def test_an_append_supersedes_a_complete_at_once(fresh: Fresh) -> None:
    stream = await fresh("hello wor")
    long = {"beam_width": 64, "max_tokens": 1024, "partial_results": True}
    await stream.send(1, complete=long)
    await stream.until("completing")
    await stream.send(2, append={"text": "l"})
    answers = await stream.until("appended")
    finished = next(a for a in answers if a.WhichOneof("answer") == "finished")
    assert finished.operation_id == 1
    assert finished.finished.reason == operations_pb2.FINISH_REASON_SUPERSEDED
    assert await writes(stream) == await writes(await fresh("hello worl"))


async def test_a_fork_is_independent(fresh: Fresh, open_stream: OpenStream) -> None:
    stream = await fresh("hello world")
    forked = (await stream.ask(fork={"seed": 9})).forked
    assert (forked.offset, forked.seed) == (11, 9)
    assert await writes(stream) == await writes(await fresh("hello world"))
    child = open_stream()
    await child.send(0, attach={"session_id": forked.session_id})
    attached = (await child.receive()).attached
    assert attached.offset == 11
    assert (await child.ask(rewind={"tokens": 5})).rewound.offset == 6
    other = open_stream()
    await other.open(seed=9)
    await other.ask(append={"text": "hello "})
    assert await writes(child) == await writes(other)


async def test_a_score_is_what_an_append_reports(fresh: Fresh, channel: aio.Channel) -> None:
    stream = await fresh("hello ")
    scored = (await stream.ask(score={"text": "world", "log_probabilities": True})).scored
    appended = (await (await fresh("hello ")).ask(append={"text": "world"})).appended
    assert scored.log_probability == appended.log_probability
    assert len(scored.log_probabilities) == scored.scored_tokens == 5
    assert sum(scored.log_probabilities) == pytest.approx(scored.log_probability)
    assert scored.bits_per_token == pytest.approx(-scored.log_probability / 5 * 1.442695)
    assert await writes(stream) == await writes(await fresh("hello "))
    stub = GenerationServiceStub(channel)
    request = ScoreRequest(
        prompt=operations_pb2.Append(text="hello "),
        score=operations_pb2.Score(text="world", log_probabilities=True),
    )
    assert (await stub.Score(request)).scored == scored
    whole = (await stub.Score(ScoreRequest(score=operations_pb2.Score(text="hello ")))).scored
    assert whole.scored_tokens == 5  # the first follows nothing


async def test_complete_without_a_session_is_the_same(fresh: Fresh, channel: aio.Channel) -> None:
    arguments = {"beam_width": 3, "completion_count": 2, "max_tokens": 5}
    stream = await fresh("hello wor")
    request = CompleteRequest(
        prompt=operations_pb2.Append(text="hello wor"),
        complete=operations_pb2.Complete(**arguments),  # type: ignore[arg-type]
    )
    response = await GenerationServiceStub(channel).Complete(request)
    assert response.completed == (await stream.ask(complete=arguments)).completed
    request.complete.partial_results = True  # which has no effect here
    assert await GenerationServiceStub(channel).Complete(request) == response


async def test_every_complete_is_answered_though_they_share_an_id(
    fresh: Fresh, daemon: Daemon
) -> None:
    stream = await fresh("hello wor")
    (model,) = daemon.registry
    with holding_up(model):
        for _ in range(20):
            await stream.send(0, complete={"max_tokens": 1})
    for _ in range(20):
        assert (await stream.receive()).WhichOneof("answer") == "completed"


async def test_stop_strings_end_a_text_before_them(fresh: Fresh) -> None:
    whole = await writes(await fresh("hello "), 200)
    stop = whole[50:52]
    before = whole[: whole.index(stop)]
    stream = await fresh("hello ")
    await stream.send(1, generate={"max_tokens": 200, "stop_strings": [stop]})
    answers = await stream.until("finished")
    finished = answers[-1].finished
    assert text_of(answers) == before
    assert finished.reason == operations_pb2.FINISH_REASON_STOP
    assert finished.stop_string == stop
    assert finished.offset == 6 + len(before)
    assert await writes(stream) == await writes(await fresh("hello " + before))


async def test_text_without_its_stop_strings_is_whole(fresh: Fresh) -> None:
    whole = await writes(await fresh("hello "), 200)
    stream = await fresh("hello ")
    almost = [whole[i : i + 3] + "世世" for i in (3, 40, 197)]
    answers_text = await stream.generated(1, 200, stop_strings=almost)
    assert answers_text == whole


async def test_an_operation_with_a_seed_does_not_depend_on_its_position(fresh: Fresh) -> None:
    stream = await fresh("hello ")
    first = await writes(stream, 20, seed=77)
    await stream.ask(rewind={"offset": 6})
    assert await writes(stream, 20, seed=77) == first
    await stream.ask(rewind={"offset": 6})
    assert await writes(stream, 20, seed=78) != first
    await stream.ask(rewind={"offset": 6})
    assert await writes(stream, 20) == await writes(await fresh("hello "), 20)


async def test_biases_and_penalties_reach_the_text(fresh: Fresh) -> None:
    never = [{"symbol": symbol, "bias": -100.0} for symbol in "abcdefghijklm"]
    text = await writes(await fresh("hello "), 100, logit_bias=never)
    assert not set(text) & set("abcdefghijklm")
    plain = await writes(await fresh("hello "), 100, temperature=0)
    varied = await writes(await fresh("hello "), 100, temperature=0, repetition_penalty=1.5)
    assert len(set(varied)) > len(set(plain))


async def test_alternatives_begin_with_the_likeliest(fresh: Fresh) -> None:
    stream = await fresh("hello ")
    greedy = {"temperature": 0.0}
    arguments = {"max_tokens": 10, "sampling": greedy, "top_alternatives": 3}
    await stream.send(1, generate={**arguments, "log_probabilities": True})
    for answer in (await stream.until("finished"))[:-1]:
        chunk = answer.chunk
        assert chunk.end_offset == chunk.offset + len(chunk.text)
        for symbol, log, place in zip(
            chunk.text, chunk.log_probabilities, chunk.alternatives, strict=True
        ):
            logs = [alternative.log_probability for alternative in place.alternatives]
            assert (place.alternatives[0].symbol, logs[0]) == (symbol, log)
            assert logs == sorted(logs, reverse=True)
            assert len(logs) == 3


BAD = [
    ({"generate": {"max_tokens": 1, "stop_strings": ["a" * 65]}}, "rewind_window of 64"),
    ({"generate": {"max_tokens": 1, "stop_strings": [""]}}, "has an empty string"),
    ({"generate": {"max_tokens": 1, "top_alternatives": 21}}, "top_alternatives is 21"),
    ({"generate": {"max_tokens": 1, "sampling": {"top_p": 0.0}}}, "top_p is 0"),
    ({"generate": {"max_tokens": 1, "sampling": {"min_p": 2.0}}}, "min_p is 2"),
    ({"generate": {"max_tokens": 1, "sampling": {"repetition_penalty": 0.5}}}, "is 0.5"),
    (
        {"generate": {"max_tokens": 1, "sampling": {"logit_bias": [{"symbol": "ab"}]}}},
        "single symbols",
    ),
    ({"complete": {"beam_width": 65}}, "beam_width is 65"),
    ({"complete": {"beam_width": 2, "completion_count": 3}}, "completion_count is 3"),
    ({"complete": {"max_tokens": 5000}}, "max_tokens is 5000"),
    ({"complete": {"length_penalty": float("nan")}}, "length_penalty is nan"),
    ({"complete": {"end": 77}}, "end 77"),
    ({"accept": {}}, "complete it first"),
    ({"rewind": {}}, "neither"),
    ({"score": {}}, "empty"),
    ({"score": {"text": "naïve"}}, "'ï'"),
    ({"append": {"data": b"abc"}}, "reads characters"),
    ({"classify": {}}, "no labels"),
    ({"attach": {"session_id": "x"}}, "comes first, and once"),
]


@pytest.mark.parametrize(("operation", "words"), BAD)
async def test_a_bad_operation_fails_alone(
    fresh: Fresh, operation: dict[str, object], words: str
) -> None:
    stream = await fresh("hello")
    rejected = await stream.ask(**operation)
    assert words in rejected.rejected.status.message
    assert await writes(stream) == await writes(await fresh("hello"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rewind_window": 1025}, "rewind_window is 1025"),
        ({"idle_timeout": Duration(seconds=10_000_000)}, "idle_timeout is 10000000"),
        ({"unknown_symbols": 9}, "unknown_symbols 9"),
        ({"on_disconnect": 9}, "on_disconnect 9"),
        ({"unknown_symbols": operations_pb2.UNKNOWN_SYMBOLS_REPLACE}, "no symbol to put"),
    ],
)
async def test_a_bad_open_ends_the_stream(
    open_stream: OpenStream, settings: dict[str, object], words: str
) -> None:
    stream = open_stream()
    await stream.send(open=settings)
    assert await stream.call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in await stream.call.details()


async def test_unknown_symbols_can_be_left_out(fresh: Fresh, open_stream: OpenStream) -> None:
    stream = open_stream()
    await stream.open(seed=SEED, unknown_symbols=operations_pb2.UNKNOWN_SYMBOLS_SKIP)
    assert (await stream.ask(append={"text": "hELLOello"})).appended.offset == 5
    assert await writes(stream) == await writes(await fresh("hello"))
