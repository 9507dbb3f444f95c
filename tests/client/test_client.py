from __future__ import annotations

import asyncio
import socket

import pytest

from cellwire import client
from cellwire.client import Client, FinishReason, Usage

from tests.client.fake.daemon import FakeDaemon

GUARD_S = 20


async def test_generate_goes_on_from_a_prompt(daemon: Client, fake: FakeDaemon) -> None:
    fake.chunk_chars = 2
    generation = daemon.generate("ab", max_chars=3, model="alphabet", seed=1, temperature=0.5)
    assert [text async for text in generation] == ["cd", "e"]
    assert generation.finished is not None
    assert generation.finished.reason is FinishReason.MAX_CHARS
    assert generation.finished.offset == 5


async def test_generate_gives_log_probabilities(daemon: Client) -> None:
    generation = daemon.generate("a", max_chars=2, log_probabilities=True)
    pieces = [piece async for piece in generation.pieces()]
    assert [(piece.text, piece.log_probabilities) for piece in pieces] == [
        ("b", (-0.5,)),
        ("c", (-0.5,)),
    ]


async def test_generate_raises_what_the_daemon_says(daemon: Client) -> None:
    with pytest.raises(client.NotFound):
        await daemon.generate("a", max_chars=1, model="x").text()
    with pytest.raises(client.InvalidArgument):
        await daemon.generate("A", max_chars=1).text()
    with pytest.raises(client.FailedPrecondition):
        await daemon.generate("", max_chars=1).text()


async def test_numbers_that_cannot_be_sent_are_refused_here(daemon: Client) -> None:
    with pytest.raises(ValueError, match="-1"):
        daemon.generate("a", max_chars=-1)
    with pytest.raises(ValueError, match="-2"):
        daemon.session(seed=-2)


async def test_cancel_ends_a_call(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 2
    generation = daemon.generate("abc", max_chars=100)
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
    async for _ in daemon.generate("a", max_chars=100):
        break
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_a_cancelled_reader_ends_the_call(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 0
    reading = asyncio.create_task(daemon.generate("a", max_chars=100).text())
    await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_a_vanished_daemon_is_unavailable(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 1
    texts = aiter(daemon.generate("a", max_chars=100))
    assert await anext(texts) == "b"
    await fake.stop()
    with pytest.raises(client.Unavailable):
        await anext(texts)
    with pytest.raises(client.Unavailable):
        await daemon.models()


async def test_closing_the_client_ends_its_calls(fake: FakeDaemon) -> None:
    fake.pause_at = 0
    async with client.connect(fake.target) as daemon:
        reading = asyncio.create_task(daemon.generate("a", max_chars=1).text())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    with pytest.raises(client.Cancelled):
        await reading


async def test_models_are_values(daemon: Client) -> None:
    alphabet, untrained = await daemon.models()
    assert (alphabet.name, alphabet.layers, alphabet.hidden) == ("alphabet", 2, 26)
    assert alphabet.vocabulary.kind == "characters"
    assert alphabet.vocabulary.symbols[:3] == ("a", "b", "c")
    assert (len(alphabet.vocabulary), len(untrained.vocabulary)) == (27, 256)
    assert (alphabet.vocabulary.unknown, alphabet.vocabulary.lower_case) == (None, False)
    assert (alphabet.writes, alphabet.labels) == (True, ())
    assert (untrained.writes, untrained.labels) == (False, ("good", "bad"))
    assert alphabet.training is not None
    assert alphabet.training.validation_bits_per_character == 0.125
    assert untrained.training is None


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
