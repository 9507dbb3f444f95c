"""A client: connecting, models, and generations without a session."""

from __future__ import annotations

import asyncio
import math
import socket

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import Client, FinishReason, Usage

GUARD_S = 20
ENDLESS = 1_000_000


async def test_generate_continues_a_prompt(daemon: Client) -> None:
    generation = daemon.generate("ab", max_tokens=3, model="alphabet", seed=1, temperature=0.5)
    assert "".join([text async for text in generation]) == "cde"
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.MAX_TOKENS
    assert generation.finished.offset == 5


async def test_text_arrives_as_it_is_generated(daemon: Client, fake: FakeDaemon) -> None:
    fake.chunk_tokens = 2
    generation = daemon.generate("ab", max_tokens=3)
    assert [text async for text in generation] == ["cd", "e"]


async def test_generate_gives_log_probabilities(daemon: Client) -> None:
    generation = daemon.generate("a", max_tokens=2, log_probabilities=True)
    pieces = [piece async for piece in generation.pieces()]
    assert "".join(piece.text for piece in pieces) == "bc"
    each = [one for piece in pieces for one in piece.log_probabilities]
    assert each == pytest.approx([0, 0], abs=1e-6)


async def test_generate_raises_what_the_daemon_says(daemon: Client) -> None:
    with pytest.raises(client.NotFound):
        await daemon.generate("a", max_tokens=1, model="x").text()
    with pytest.raises(client.InvalidArgument):
        await daemon.generate("A", max_tokens=1).text()
    with pytest.raises(client.InvalidArgument, match="empty"):
        await daemon.generate("", max_tokens=1).text()


async def test_numbers_that_cannot_be_sent_are_refused_here(daemon: Client) -> None:
    with pytest.raises(ValueError, match="-1"):
        daemon.generate("a", max_tokens=-1)
    with pytest.raises(ValueError, match="-2"):
        daemon.session(seed=-2)
    with pytest.raises(ValueError, match="inf"):
        daemon.session(idle_timeout_s=math.inf)
    with pytest.raises(ValueError, match="range"):
        daemon.session(idle_timeout_s=1e30)


async def test_cancel_ends_a_call(daemon: Client) -> None:
    generation = daemon.generate("abc", max_tokens=ENDLESS)
    pieces = generation.pieces()
    text = (await anext(pieces)).text
    generation.cancel()
    async for piece in pieces:
        text += piece.text
    assert text == letters("c", len(text))
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.CANCELLED
    assert generation.finished.offset == 3 + len(text)
    assert generation.finished.usage == Usage(3, len(text))


async def test_cancel_ends_a_call_that_waits(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 2
    generation = daemon.generate("abc", max_tokens=100)
    reading = asyncio.create_task(generation.text())
    await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    generation.cancel()
    text = await reading
    assert "de".startswith(text)
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.CANCELLED
    assert generation.finished.offset == (3 + len(text) if text else 0)
    assert generation.finished.usage == Usage(3 if text else 0, len(text))
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_leaving_the_loop_ends_the_call(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 2
    async for _ in daemon.generate("a", max_tokens=100):
        break
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_a_cancelled_reader_ends_the_call(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 0
    reading = asyncio.create_task(daemon.generate("a", max_tokens=100).text())
    await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_a_vanished_daemon_is_unavailable(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 1
    texts = aiter(daemon.generate("a", max_tokens=100))
    assert await anext(texts) == "b"
    await fake.stop()
    with pytest.raises(client.Unavailable):
        await anext(texts)
    with pytest.raises(client.Unavailable):
        await daemon.models()


async def test_closing_the_client_ends_its_calls(target: str) -> None:
    async with client.connect(target) as daemon:
        texts = aiter(daemon.generate("a", max_tokens=ENDLESS))
        await anext(texts)
    with pytest.raises(client.Cancelled):
        async for _ in texts:
            pass


async def test_models_are_values(daemon: Client) -> None:
    alphabet, judge, words = await daemon.models()
    assert (alphabet.name, alphabet.layer_count, alphabet.hidden_size) == ("alphabet", 2, 26)
    assert (alphabet.cell_kind, alphabet.provider) == ("lstm", "CPUExecutionProvider")
    assert [model.vocabulary.kind for model in (alphabet, judge, words)] == [
        "characters",
        "bytes",
        "words",
    ]
    assert (alphabet.vocabulary.size, judge.vocabulary.size) == (27, 256)
    assert (alphabet.vocabulary.unknown_symbol, alphabet.vocabulary.lower_case) == (None, False)
    assert (alphabet.generates, alphabet.labels) == (True, ())
    assert (judge.generates, judge.labels) == (False, ("good", "bad"))
    assert alphabet.training is not None
    assert (alphabet.training.corpus, alphabet.training.step_count) == ("primer", 3)
    assert alphabet.training.validation_bits_per_character == 0.125
    assert judge.training is None


async def test_only_the_full_view_has_the_symbols(daemon: Client) -> None:
    assert {model.vocabulary.symbols for model in await daemon.models()} == {()}
    model = await daemon.model("words")
    assert model.name == "words"
    assert len(model.vocabulary.symbols) == model.vocabulary.size == 27
    default = await daemon.model()
    assert default.name == "alphabet"
    assert default.vocabulary.symbols[:3] == ("a", "b", "c")
    with pytest.raises(client.NotFound):
        await daemon.model("x")


async def test_all_pages_of_models_are_read(daemon: Client, fake: FakeDaemon) -> None:
    fake.page_size = 2
    assert [model.name for model in await daemon.models()] == ["alphabet", "judge", "words"]


async def test_nothing_at_the_target_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(client.Unreachable, match=f"cannot reach a daemon at {target}"):
            async with client.connect(target):
                pytest.fail("it connected")


async def test_a_silent_target_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellwire.client.wire.channel.CONNECT_TIMEOUT_S", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(client.Unreachable):
            async with client.connect(f"127.0.0.1:{silent.getsockname()[1]}"):
                pytest.fail("it connected")
