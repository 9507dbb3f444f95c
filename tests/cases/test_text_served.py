"""T: a text is read in serving as in training, however it is cut into operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
import pytest
from grpc import aio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.served_models import VOCABULARIES, Served, close, rejection, serving
from tests.server.rpc.conftest import Stream, described, text_of

from cellwire.v1 import operations_pb2 as operations
from cellwire.v1.generation_pb2 import CompleteRequest, GenerateRequest, ScoreRequest
from cellwire.v1.sessions_pb2 import (
    ExportSessionRequest,
    ForkSessionRequest,
    ImportSessionRequest,
    Session,
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("models")) as served:
        yield served


PARTS = [  # those that look alike are meant to
    *("red", "roses", "are", "violets", "blue", "don't", "don", "the", "th", "<unk>", "<un"),
    *("e", "é", "e\u0301", "\u0301", "o\u0308", "ΟΔΥΣΣΕΥΣ", "σ", "Σ", "ς", "ύ", "υ\u0301"),  # noqa: RUF001
    *(" ", "  ", "\n", "\r\n", "\r", "\t", "\ufeff", ",", ".", "'", "-", "&", ";", "<"),
    *("&amp;", "&am", "p;", "<br />", "<b", "r>", "&lt;", "世", "👩", "\u200d", "A", "a"),
]
texts = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
# For characters that a model lacks: they are left out, or replaced.
lenient = st.sampled_from(["UNKNOWN_SYMBOLS_SKIP", "UNKNOWN_SYMBOLS_REPLACE"])


@dataclass
class Cut:
    """A text in pieces, with what happens between two of them."""

    pieces: list[str]
    pipelined: bool


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    text = draw(texts)
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    ends = [0, *places, len(text)]
    pieces = [text[a:b] for a, b in pairwise(ends) if a < b]
    return Cut(pieces, draw(st.booleans()))


async def append(stream: Stream, pieces: list[str], *, pipelined: bool = False) -> list[Any]:
    """Append pieces, some of which have nothing that the model knows; return the answers."""
    if pipelined:
        for number, piece in enumerate(pieces, start=10):
            await stream.send(number, append={"text": piece})
        return [await stream.receive() for _ in pieces]
    return [await stream.ask(append={"text": piece}) for piece in pieces]


async def look(served: Served, stream: Stream) -> dict[str, Any]:
    """Return all that can be seen of a text and of the state after it."""
    found: dict[str, Any] = {}
    for text in ("red", "e", "\n"):
        scored = await stream.ask(score={"text": text, "log_probabilities": True})
        found[f"score {text}"] = (
            scored.scored.log_probability,
            list(scored.scored.log_probabilities),
        )
    fork = (await stream.ask(fork={"seed": 1})).forked
    session = await described(served.channel, fork.session_id)
    found |= {"offset": session.offset, "tail": session.tail}
    if session.offset:
        found["text"] = await stream.generated(50, 12, sampling={"seed": 3})
    return found


def modes(model: str, mode: str) -> str:
    has_unknown = "unknown" in VOCABULARIES[model]
    return mode if has_unknown else "UNKNOWN_SYMBOLS_SKIP"


@pytest.mark.parametrize("model", VOCABULARIES)
@settings(max_examples=25, deadline=None)
@given(cut=cuts(), mode=lenient)
def test_a_text_that_is_cut_anywhere_reads_as_the_whole(
    served: Served, model: str, cut: Cut, mode: str
) -> None:
    async def compare() -> None:
        unknown = modes(model, mode)
        whole = await served.stream(model, unknown_symbols=unknown)
        in_pieces = await served.stream(model, unknown_symbols=unknown)
        await append(whole, ["".join(cut.pieces)])
        await append(in_pieces, cut.pieces, pipelined=cut.pipelined)
        assert await look(served, in_pieces) == await look(served, whole)
        await close(whole)
        await close(in_pieces)

    served.run(compare())


@pytest.mark.parametrize("model", VOCABULARIES)
@pytest.mark.parametrize("way", ["fork", "fork from outside", "export", "keep"])
@settings(max_examples=8, deadline=None)
@given(text=texts, more=texts, mode=lenient)
def test_a_copy_reads_on_as_the_original(
    served: Served, model: str, way: str, text: str, more: str, mode: str
) -> None:
    async def copy_of(stream: Stream, session_id: str) -> str:
        sessions: Any = SessionsServiceStub(served.channel)
        match way:
            case "fork":
                return (await stream.ask(fork={"seed": 7})).forked.session_id
            case "keep":
                await stream.ask(close={"keep": True})
                await stream.end()
                return session_id
            case "export":
                request = ExportSessionRequest(session_id=session_id)
                snapshot = (await sessions.ExportSession(request)).snapshot
                answer = await sessions.ImportSession(ImportSessionRequest(snapshot=snapshot))
            case _:
                fork = ForkSessionRequest(session_id=session_id, seed=7)
                answer = await sessions.ForkSession(fork)
        session: Session = answer.session
        return session.session_id

    async def compare() -> None:
        unknown = modes(model, mode)
        whole = await served.stream(model, unknown_symbols=unknown)
        await append(whole, [text + more])
        original = Stream(served.stub.StreamSession())
        opened = await original.open(model=model, seed=7, unknown_symbols=unknown)
        await append(original, [text])
        copy = Stream(served.stub.StreamSession())
        attach = {"session_id": await copy_of(original, opened.opened.session_id)}
        assert (await copy.ask(attach=attach)).HasField("attached")
        await append(copy, [more])
        assert await look(served, copy) == await look(served, whole)
        for stream in (whole, copy) if way == "keep" else (whole, copy, original):
            await close(stream)

    served.run(compare())


@pytest.mark.parametrize("model", VOCABULARIES)
@settings(max_examples=15, deadline=None)
@given(text=texts, more=texts, mode=lenient)
def test_a_score_reads_what_an_append_would(
    served: Served, model: str, text: str, more: str, mode: str
) -> None:
    async def compare() -> None:
        stream = await served.stream(model, unknown_symbols=modes(model, mode))
        await append(stream, [text])
        scored = await stream.ask(score={"text": more})
        (appended,) = await append(stream, [more])
        assert scored.scored.log_probability == appended.appended.log_probability
        await close(stream)

    served.run(compare())


@pytest.mark.parametrize(
    ("model", "whole", "pieces"),
    [
        ("composed", "é", ["e", "\u0301"]),
        ("words", "red roses", ["re", "d ", "ro", "ses"]),
        ("words", "don't", ["don", "'", "t"]),
        ("greek", "οδυσσευς δ", ["ΟΔΥΣΣΕΥ", "Σ", " ", "Δ"]),
        ("feeds", "a\nb\n", ["a\r", "\nb", "\r\n"]),
        ("feeds", "red", ["\ufeff", "red"]),
        ("spaces", "a b ", ["a\r", "\nb", "\n"]),
        ("review", "a & b c", ["A &am", "p; B<b", "r />C"]),
        ("review", "red", ["\n ", " red"]),
        ("named", "the<unk>", ["t", "he", "<un", "k>"]),
        ("spaced", "red, blue", ["RE", "D", " , ", "blu", "e"]),
    ],
)
def test_pieces_read_as(served: Served, model: str, whole: str, pieces: list[str]) -> None:
    async def compare() -> None:
        unknown = modes(model, "UNKNOWN_SYMBOLS_REPLACE")
        first = await served.stream(model, unknown_symbols=unknown)
        second = await served.stream(model, unknown_symbols=unknown)
        await append(first, [whole])
        await append(second, pieces)
        assert await look(served, first) == await look(served, second)
        await close(first)
        await close(second)

    served.run(compare())


def test_an_answer_says_how_many_tokens_were_replaced(served: Served) -> None:
    async def check() -> None:
        stream = await served.stream("composed")
        await append(stream, ["he"])
        answer = (await stream.ask(append={"text": "\u0301llo"})).appended
        assert (answer.offset, answer.replaced_tokens) == (5, 1)
        answer = (await stream.ask(append={"text": ","})).appended
        assert (answer.offset, answer.replaced_tokens) == (6, 0)
        await close(stream)

    served.run(check())


def test_text_that_the_model_wrote_is_not_read_again(served: Served) -> None:
    async def check() -> None:
        stream = await served.stream("composed")
        await append(stream, ["he"])
        await stream.generated(2, 1, sampling={"logit_bias": [{"symbol": "e", "bias": 100}]})
        message = rejection(await stream.ask(append={"text": "\u0301"}))
        assert "does not know the symbol '\u0301' (U+0301) at offset 0" in message
        await close(stream)

    served.run(check())


@pytest.mark.parametrize("change", ["rewind", "accept", "generate"])
def test_an_operation_that_changes_the_text_settles_its_end(served: Served, change: str) -> None:
    async def check() -> None:
        stream = await served.stream("words", unknown_symbols="UNKNOWN_SYMBOLS_REPLACE")
        await append(stream, ["red roses are"])
        if change == "accept":
            await stream.ask(complete={"max_tokens": 1})
            await stream.ask(accept={})
        elif change == "rewind":
            await stream.ask(rewind={"tokens": 1})
        else:
            await stream.generated(2, 1)
        answer = (await stream.ask(append={"text": "violets"})).appended
        assert answer.replaced_tokens == 0
        await close(stream)

    served.run(check())


def test_a_rewind_to_0_begins_again(served: Served) -> None:
    async def check() -> None:
        stream = await served.stream("feeds")
        for rewind in ({"offset": 0}, {"tokens": 3}):
            (answer,) = await append(stream, ["\ufeffred"])
            assert answer.appended.offset == 3
            await stream.ask(rewind=rewind)
        message = rejection((await append(stream, ["r", "\ufeff"]))[1])
        assert "'\\ufeff' (U+FEFF) at offset 0" in message
        await close(stream)

    served.run(check())


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_rejected_append_loses_nothing(served: Served, pipelined: bool) -> None:  # noqa: FBT001
    async def check() -> None:
        stream = await served.stream("composed")
        answers = await append(stream, ["he", "世", "\u0301"], pipelined=pipelined)
        assert sorted(a.WhichOneof("answer") for a in answers) == [
            "appended",
            "appended",
            "rejected",
        ]
        assert (await described_text(served, stream)) == "hé"
        await close(stream)

    served.run(check())


async def described_text(served: Served, stream: Stream) -> str:
    fork = (await stream.ask(fork={"seed": 1})).forked
    return (await described(served.channel, fork.session_id)).tail


def test_an_append_behind_one_that_failed_says_so(served: Served) -> None:
    async def check() -> None:
        stream = await served.stream("composed")
        await append(stream, ["he"])
        await stream.send(3, generate={"max_tokens": 100_000})
        await stream.send(4, append={"text": "o"})
        await stream.send(5, append={"text": "\u0308"})  # read on the assumption that 4 succeeds
        await stream.send(6, cancel={"operation_id": 4})
        await stream.send(7, cancel={"operation_id": 3})
        answers = {r.operation_id: r for r in await stream.until("rejected")}
        message = rejection(answers[5])
        assert "an append before it has failed, or was cancelled" in message
        (answer,) = await append(stream, ["o"])
        assert answer.HasField("appended")
        await close(stream)

    served.run(check())


@pytest.mark.parametrize(
    ("model", "before", "text", "offset"),
    [
        ("composed", "", "e\u0301" * 5 + "世", 10),
        ("composed", "he", "\u0301lo 世", 4),
        ("feeds", "", "\ufeffred\r\n\r\n世", 8),
        ("review", "", "a &amp; <br /> 世", 15),
        ("greek", "ΟΔΥ", "ΣΣ世", 2),
        ("words", "red", " roses\r\nzebra", 8),
        ("spaced", "red", ", \t\nzebra", 4),
    ],
)
def test_offsets_are_in_what_the_client_has_sent(
    served: Served, model: str, before: str, text: str, offset: int
) -> None:
    async def check() -> None:
        stream = await served.stream(model)
        if before:
            assert (await append(stream, [before]))[0].HasField("appended")
        for operation in ("append", "score"):
            message = rejection(await stream.ask(**{operation: {"text": text}}))
            assert f"at offset {offset} of the text" in message
        await close(stream)

    served.run(check())


@pytest.mark.parametrize(
    ("model", "pieces"),
    [("words", [*"red roses"]), ("composed", ["h", "e", "l", "l", "o"]), ("spaced", [*"violets"])],
)
def test_half_a_word_waits_for_the_rest(served: Served, model: str, pieces: list[str]) -> None:
    async def check() -> None:
        whole, by_key = await served.stream(model), await served.stream(model)
        await append(whole, ["".join(pieces)])
        await append(by_key, pieces)
        assert await look(served, whole) == await look(served, by_key)
        await close(whole)
        await close(by_key)

    served.run(check())


@pytest.mark.parametrize(
    "operation", [{"generate": {"max_tokens": 1}}, {"complete": {}}, {"score": {"text": "o"}}]
)
def test_half_a_word_is_refused_where_the_whole_text_is_needed(
    served: Served, operation: dict[str, Any]
) -> None:
    async def check() -> None:
        stream = await served.stream("words")
        assert (await stream.ask(append={"text": "red r"})).appended.offset == 1
        assert "does not know the symbol 'r" in rejection(await stream.ask(**operation))
        assert (await stream.ask(append={"text": "oses"})).appended.offset == 2
        assert "does not know the symbol 'rosesx'" in rejection(
            await stream.ask(append={"text": "x"})
        )
        await close(stream)

    served.run(check())


def test_a_single_call_reads_its_prompt_as_a_beginning(served: Served) -> None:
    async def check() -> None:
        stub: Any = served.stub
        opened = operations.Open(model="feeds", seed=7)
        whole = operations.Append(text="red\nroses")
        sent = operations.Append(text="\ufeffred\r\nroses")
        options = operations.Generate(max_tokens=5)
        texts = []
        for prompt in (whole, sent):
            request = GenerateRequest(open=opened, prompt=prompt, generate=options)
            texts.append(text_of([r async for r in stub.Generate(request)]))
        assert texts[0] == texts[1]
        complete = operations.Complete(max_tokens=5)
        found = [
            await stub.Complete(CompleteRequest(open=opened, prompt=prompt, complete=complete))
            for prompt in (whole, sent)
        ]
        assert found[0] == found[1]
        split = operations.Append(text="\ufeffred\r")
        scores = [
            await stub.Score(
                ScoreRequest(open=opened, prompt=prompt, score=operations.Score(text=text))
            )
            for prompt, text in ((operations.Append(text="red\n"), "r"), (split, "\nr"))
        ]
        assert scores[0] == scores[1]

    served.run(check())


def test_text_may_have_no_symbols_at_all(served: Served) -> None:
    async def check() -> None:
        stream = await served.stream("review")
        assert (await append(stream, [" \r\n "]))[0].appended.offset == 0
        assert (await stream.ask(score={"text": " "})).scored.scored_tokens == 0
        stub: Any = served.stub
        prompt = operations.Append(text=" ")
        opened, complete = operations.Open(model="review"), operations.Complete()
        request = CompleteRequest(open=opened, prompt=prompt, complete=complete)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Complete(request)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        skipping = await served.stream("review", unknown_symbols="UNKNOWN_SYMBOLS_SKIP")
        assert (await append(skipping, ["世"]))[0].appended.offset == 0
        await close(stream)
        await close(skipping)

    served.run(check())
