"""U: answers in the caller's terms: what a client gets can be given back, and means the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.served_models import VOCABULARIES, Served, answered, close, rejection, serving
from tests.server.rpc.conftest import Stream, text_of

from cellwire.model_file.cleaning import Cleaning
from cellwire.model_file.manifest import VocabularyFacts

BEGINNINGS = {"greek": "\u03bf\u03c5", "words": "red", "spaced": "red"}
WRITTEN = 30  # tokens


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("models")) as served:
        yield served


async def begun(served: Served, model: str, text: str = "", **options: object) -> Stream:
    """Open a session with some text."""
    stream = await served.stream(model, **options)
    text = text or BEGINNINGS.get(model, "re")
    assert (await stream.ask(append={"text": text})).HasField("appended")
    return stream


async def generated(stream: Stream, **options: Any) -> tuple[str, Any]:  # noqa: ANN401
    """Return generated text, and the end of the generation."""
    await stream.send(5, generate={"max_tokens": WRITTEN, **options})
    responses = await answered(stream)
    return text_of(responses), responses[-1].finished


def cleaned(model: str, text: str) -> str:
    return Cleaning(VocabularyFacts(**VOCABULARIES[model])).clean_part(text)


# Stop strings

SOME_STOPS = [
    *"aeros",
    ", ",
    "The ",
    "RE",
    "red",
    " red",
    "Red roses",
    "\r\n",
    "ΟΔ",
    "ς",
    "e\u0301",
]


@pytest.mark.parametrize("model", VOCABULARIES)
@settings(max_examples=15, deadline=None)
@given(
    stops=st.lists(st.sampled_from(SOME_STOPS), min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 50),
)
def test_a_stop_string_comes_back_byte_for_byte(
    served: Served, model: str, stops: list[str], seed: int
) -> None:
    if VOCABULARIES[model].get("line_ends") == "spaces" or model == "spaced":
        stops = [stop for stop in stops if "\n" not in stop] or ["e"]

    async def check() -> None:
        stream = await begun(served, model, unknown_symbols="UNKNOWN_SYMBOLS_SKIP")
        text, finished = await generated(stream, stop_strings=stops, sampling={"seed": seed})
        if finished.reason == 2:  # a stop string
            assert finished.stop_string in stops
            again = await begun(served, model)
            whole, _ = await generated(again, sampling={"seed": seed})
            assert whole.startswith(text)
            rest, stop = whole[len(text) :], cleaned(model, finished.stop_string)
            assert rest.startswith((stop, f" {stop}"))
            await close(again)
        else:
            assert not finished.stop_string
        await close(stream)

    served.run(check())


@pytest.mark.parametrize(
    ("model", "stop", "words"),
    [
        ("plain", "a#b", r"stop string 'a#b': the model does not know the symbol '#'"),
        ("words", "red zebra", "stop string 'red zebra': the model does not know the symbol"),
        ("spaces", "a\nb", "stop string 'a\\nb': the model never writes a line feed"),
        ("spaced", "\n", "stop string '\\n': "),
    ],
)
def test_a_stop_string_that_cannot_occur_is_named_with_the_reason(
    served: Served, model: str, stop: str, words: str
) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        message = rejection(await stream.ask(generate={"max_tokens": 1, "stop_strings": [stop]}))
        assert words in message
        await close(stream)

    served.run(check())


def test_a_stop_string_with_unknown_symbols_is_left_out_where_they_are_skipped(
    served: Served,
) -> None:
    async def check() -> None:
        stream = await begun(served, "plain", unknown_symbols="UNKNOWN_SYMBOLS_SKIP")
        _, finished = await generated(stream, stop_strings=["a#b"])
        assert finished.usage.generated_tokens == WRITTEN
        await close(stream)

    served.run(check())


# Symbols


@pytest.mark.parametrize("model", VOCABULARIES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 50))
def test_alternatives_join_to_the_text_and_can_be_biased(
    served: Served, model: str, seed: int
) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        await stream.send(
            5, generate={"max_tokens": 4, "top_alternatives": 6, "sampling": {"seed": seed}}
        )
        chunks = [r.chunk for r in await answered(stream) if r.HasField("chunk")]
        await stream.ask(rewind={"tokens": 4})
        for alternative in chunks[0].alternatives[0].alternatives if chunks else ():
            biased = {"logit_bias": [{"symbol": alternative.symbol, "bias": 100}], "temperature": 0}
            await stream.send(6, generate={"max_tokens": 1, "sampling": biased})
            text = text_of(await answered(stream))
            assert text == alternative.symbol or alternative.symbol.startswith("<0x")
            await stream.ask(rewind={"tokens": 1})
        await close(stream)

    served.run(check())


@pytest.mark.parametrize(
    ("model", "symbol", "words"),
    [
        ("plain", "世", "does not know the symbol '世'"),
        ("plain", "ab", "logit_bias takes single symbols; 'ab' is not one"),
        ("greek", "\u0394", ""),  # read in lower case
        ("composed", "e\u0301", ""),
        ("spaced", "red", ""),
    ],
)
def test_a_bias_takes_what_is_read_as_one_symbol(
    served: Served, model: str, symbol: str, words: str
) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        sampling = {"logit_bias": [{"symbol": symbol, "bias": 9}]}
        if words:
            answer = await stream.ask(generate={"max_tokens": 1, "sampling": sampling})
            assert words in rejection(answer)
        else:
            await generated(stream, sampling=sampling)
        await close(stream)

    served.run(check())


def test_bytes_can_be_told_apart(served: Served) -> None:
    async def check() -> None:
        stream = await begun(served, "bytes")
        for symbol in ("<0xC3>", "<0xA9>"):
            bias = {"logit_bias": [{"symbol": symbol, "bias": 100}], "temperature": 0}
            await stream.send(5, generate={"max_tokens": 1, "sampling": bias})
            responses = await answered(stream)
        assert text_of(responses) == "é"
        await stream.ask(rewind={"tokens": 2})
        await stream.send(6, generate={"max_tokens": 60, "top_alternatives": 20})
        symbols = {
            alternative.symbol
            for response in await answered(stream)
            for alternatives in response.chunk.alternatives
            for alternative in alternatives.alternatives
        }
        assert "\ufffd" not in symbols
        assert any(symbol.startswith("<0x") for symbol in symbols)
        await close(stream)

    served.run(check())


@pytest.mark.parametrize("model", ["words", "spaced", "named"])
def test_the_unknown_symbol_is_not_written_unless_it_is_named(served: Served, model: str) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        text, _ = await generated(stream, max_tokens=2_000)
        assert "<unk>" not in text
        named = {"logit_bias": [{"symbol": "<unk>", "bias": 50}]}
        text, _ = await generated(stream, max_tokens=3, sampling=named)
        assert text.count("<unk>") == 3
        await stream.ask(rewind={"tokens": 3})
        named = {"logit_bias": [{"symbol": "<unk>", "bias": 0}]}
        text, _ = await generated(stream, max_tokens=2_000, sampling=named)
        assert "<unk>" in text
        completed = await stream.ask(
            complete={"beam_width": 20, "completion_count": 20, "max_tokens": 3}
        )
        assert not any("<unk>" in c.text for c in completed.completed.completions)
        await close(stream)

    served.run(check())


@pytest.mark.parametrize("model", [m for m in VOCABULARIES if m != "bytes"])
def test_a_model_reads_what_it_writes(served: Served, model: str) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        text, _ = await generated(stream, max_tokens=300)
        reader = await served.stream(model)
        assert (await reader.ask(append={"text": text})).HasField("appended")
        await close(stream)
        await close(reader)

    served.run(check())


# Offsets


@pytest.mark.parametrize("model", VOCABULARIES)
@settings(max_examples=10, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    text=st.sampled_from(["", " red ", " red\r", " é"]),
    seed=st.integers(0, 99),
)
def test_every_offset_named_can_be_attached_at_without_loss(
    served: Served, model: str, counts: list[int], text: str, seed: int
) -> None:
    async def check() -> None:
        stream = Stream(served.stub.StreamSession())
        skipping = "UNKNOWN_SYMBOLS_SKIP"
        opened = await stream.open(model=model, seed=seed, unknown_symbols=skipping)
        session_id = opened.opened.session_id
        offsets: dict[int, str] = {}
        for piece in (BEGINNINGS.get(model, "re"), text):
            if piece:
                answer = await stream.ask(append={"text": piece})
                offsets = {answer.appended.offset: ""}
        received = ""
        for number, count in enumerate(counts, start=10):
            options = {"max_tokens": count, "log_probabilities": True, "top_alternatives": 2}
            await stream.send(number, generate=options)
            for response in await answered(stream):
                chunk = response.chunk
                if response.HasField("chunk"):
                    received += chunk.text
                    offsets[chunk.end_offset] = received
                    symbols = chunk.end_offset - chunk.offset
                    assert len(chunk.log_probabilities) == len(chunk.alternatives) == symbols
                    if model != "bytes":
                        assert not any(map(math.isnan, chunk.log_probabilities))
            offsets[response.finished.offset] = received
        await stream.ask(close={"keep": True})
        await stream.end()
        for offset, had in offsets.items():
            again = Stream(served.stub.StreamSession())
            attach = {"session_id": session_id, "offset": offset, "takeover": True}
            answer = await again.ask(attach=attach)
            assert had + answer.attached.missed.text == received
            await again.ask(close={"keep": True})
            await again.end()
        last = Stream(served.stub.StreamSession())
        await last.ask(attach={"session_id": session_id})
        await close(last)

    served.run(check())


def test_a_character_written_by_two_generations_is_whole(served: Served) -> None:
    async def check() -> None:
        stream = Stream(served.stub.StreamSession())
        session_id = (await stream.open(model="bytes", seed=7)).opened.session_id
        await stream.ask(append={"text": "a"})
        chunks = []
        for number, symbol in enumerate(("<0xC3>", "<0xA9>"), start=5):
            sampling = {"logit_bias": [{"symbol": symbol, "bias": 100}], "temperature": 0}
            options = {"max_tokens": 1, "sampling": sampling, "log_probabilities": True}
            await stream.send(number, generate=options)
            responses = await answered(stream)
            chunks += [r.chunk for r in responses if r.HasField("chunk")]
        (chunk,) = chunks
        assert (chunk.text, chunk.offset, chunk.end_offset) == ("é", 1, 3)
        assert len(chunk.log_probabilities) == 2
        assert all(map(math.isfinite, chunk.log_probabilities))
        await stream.ask(close={"keep": True})
        await stream.end()
        again = Stream(served.stub.StreamSession())
        answer = await again.ask(attach={"session_id": session_id, "offset": 2})
        assert answer.attached.missed.text == "é"
        await close(again)

    served.run(check())


# Ends and blanks


@pytest.mark.parametrize(
    ("model", "ended"), [("spaced", False), ("spaces", False), ("words", True)]
)
def test_a_line_ends_only_where_the_model_can_end_one(
    served: Served,
    model: str,
    ended: bool,  # noqa: FBT001
) -> None:
    async def check() -> None:
        stream = await begun(served, model)
        options = {"end": "COMPLETION_END_LINE", "max_tokens": 6, "beam_width": 20}
        completed = (await stream.ask(complete={**options, "completion_count": 20})).completed
        for completion in completed.completions:
            assert completion.ended == completion.text.endswith("\n")
        assert any(completion.ended for completion in completed.completions) == ended
        await close(stream)

    served.run(check())


def test_text_after_a_blank_begins_without_its_own(served: Served) -> None:
    async def check() -> None:
        plain, blank = await begun(served, "words"), await begun(served, "words", "red ")
        named = {"logit_bias": [{"symbol": " roses", "bias": 50}]}
        assert (await generated(plain, max_tokens=2, sampling=named))[0] == " roses roses"
        assert (await generated(blank, max_tokens=2, sampling=named))[0] == "roses roses"
        await blank.ask(rewind={"offset": 0})
        await blank.ask(append={"text": "red "})
        texts = []
        for stream in (plain, blank):
            await stream.ask(rewind={"offset": 1})
            if stream is blank:
                await stream.ask(append={"text": " "})
            options = {"max_tokens": 3, "completion_count": 5}
            completed = (await stream.ask(complete=options)).completed
            texts.append([completion.text for completion in completed.completions])
        assert texts[1] == [text.removeprefix(" ") for text in texts[0]]
        await close(plain)
        await close(blank)

    served.run(check())
