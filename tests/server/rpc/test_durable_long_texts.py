"""Texts longer than a session remembers: attaches and exports reach all that the store has."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import described, until
from tests.server.rpc.durable import (
    LATER,
    PROMPT,
    SESSION_ID,
    LastingStore,
    answer,
    attach,
    begin,
    serving,
    session_of,
    stored_of,
    stream_to,
)

from cellwire.server.host import earlier_text, session_copies, stored_sessions
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.server.state import text_history
from cellwire.server.state.snapshot import SnapshotFile, from_bytes, to_bytes
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
COPY_ID = "c" * 32


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture(autouse=True)
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sessions remember 200 to 400 tokens."""
    monkeypatch.setattr(text_history, "REMEMBERED_TOKENS", 200)
    monkeypatch.setattr(text_history, "MAX_REMEMBERED", 400)
    monkeypatch.setattr(earlier_text, "REMEMBERED_TOKENS", 200)


async def long_text(daemon: Daemon, channel: aio.Channel, tokens: int = 1_500) -> str:
    stream = await begin(channel)
    text = PROMPT + await stream.generated(2, tokens)
    await stream.send(3, close={"keep": True})
    await stream.until("closed")
    await stored_of(daemon).flushed()
    await until(lambda: session_of(daemon).attachment is None)
    return text


async def status_of_attach(channel: aio.Channel, **settings: object) -> tuple[grpc.StatusCode, str]:
    stream = stream_to(channel)
    await stream.send(attach={"session_id": SESSION_ID, **settings})
    return await stream.end()


async def export(channel: aio.Channel, session_id: str = SESSION_ID) -> bytes:
    request = sessions_pb2.ExportSessionRequest(session_id=session_id)
    return (await SessionsServiceStub(channel).ExportSession(request)).snapshot


async def restore(
    channel: aio.Channel,
    snapshot: bytes,
    durability: operations_pb2.Durability.ValueType = operations_pb2.DURABILITY_SAFE_FIRST,
) -> None:
    request = sessions_pb2.ImportSessionRequest(
        snapshot=snapshot, session_id=COPY_ID, durability=durability
    )
    await SessionsServiceStub(channel).ImportSession(request)


@pytest.mark.parametrize("woken", [False, True])
async def test_an_attach_reaches_all_of_a_text(
    config: Config, store: LastingStore, *, woken: bool
) -> None:
    async with serving(config, store) as (daemon, channel):
        text = await long_text(daemon, channel)
        if woken:
            session_of(daemon).leave()
        length = len(text)
        for offset in (0, 1, 700, length - 401, length - 201, length - 200, length - 199, length):
            stream, attached = await attach(channel, offset=offset, takeover=True)
            assert attached.attached.missed.text == text[offset:]
            assert attached.attached.missed.offset == (offset if offset < length else 0)
            assert attached.attached.offset == length
        assert len(await stream.generated(5, 10)) == 10


async def test_an_attach_reaches_all_of_a_text_that_goes_on(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows, while it is read, by more than the session remembers."""
    async with serving(config, store) as (daemon, channel):
        await long_text(daemon, channel)
        stream, _ = await attach(channel)
        read, grown = earlier_text._read, asyncio.Event()

        async def read_slowly(*arguments: object) -> object:
            part = await read(*arguments)  # type: ignore[arg-type]
            if not grown.is_set():
                await stream.generated(4, 900)
                grown.set()
            await stored_of(daemon).flushed()
            return part

        monkeypatch.setattr(earlier_text, "_read", read_slowly)
        _, attached = await attach(channel, offset=3, takeover=True)
        whole = "".join(_symbols(daemon, store))
        assert len(whole) == len(PROMPT) + 1_500 + 900
        assert attached.attached.missed.text == whole[3:]


def _symbols(daemon: Daemon, store: LastingStore) -> str:
    vocabulary = next(iter(daemon.registry)).vocabulary
    return vocabulary.text(store.text(SESSION_ID, 0, 10_000))[0]


async def test_a_text_that_no_message_holds_is_refused_in_words(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(config, store) as (daemon, channel):
        text = await long_text(daemon, channel)
        with monkeypatch.context() as patched:
            patched.setattr(earlier_text, "STORED_TOKENS", 1_000)
            code, details = await status_of_attach(channel, offset=511)
            assert code is OUT_OF_RANGE
            assert details.endswith("longer than a message can be; attach from offset 512 or later")
            _, attached = await attach(channel, offset=512)
            assert attached.attached.missed.text == text[512:]
            with pytest.raises(aio.AioRpcError, match="sessions export --state DIR"):
                await export(channel)
        monkeypatch.setattr(earlier_text, "MAX_MESSAGE_BYTES", earlier_text._OTHER_BYTES + 1_200)
        code, details = await status_of_attach(channel, offset=100, takeover=True)
        assert code is OUT_OF_RANGE
        found = re.search(r"attach from offset (\d+) or later", details)
        assert found is not None
        offset = int(found[1]) + 100  # which is an estimate, and the text has symbols of two bytes
        assert 311 < offset < 700
        _, attached = await attach(channel, offset=offset, takeover=True)
        assert attached.attached.missed.text == text[offset:]
        monkeypatch.setattr(session_copies, "MAX_MESSAGE_BYTES", 3_000)
        with pytest.raises(aio.AioRpcError, match="and a message 3,000;") as raised:
            await export(channel)
        assert raised.value.code() is OUT_OF_RANGE


async def test_a_store_that_lags_behind_leaves_an_attach_to_the_session(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If that remembers the text; otherwise the attach waits for the store."""
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel)
        await stored_of(daemon).flushed()
        store.open.clear()
        text = PROMPT + await stream.generated(2, 300)
        _, attached = await attach(channel, offset=0, takeover=True)
        assert attached.attached.missed.text == text
        stream, _ = await attach(channel, takeover=True)
        text += await stream.generated(3, 300)
        with monkeypatch.context() as patched:
            patched.setattr(stored_sessions, "SAFE_FIRST_TIMEOUT_S", 0.05)
            code, _ = await status_of_attach(channel, offset=0, takeover=True)
            assert code is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(aio.AioRpcError, match="does not answer"):
                await export(channel)
        attaching = asyncio.create_task(attach(channel, offset=0, takeover=True))
        exporting = asyncio.create_task(export(channel))
        store.open.set()
        _, attached = await attaching
        assert attached.attached.missed.text == text
        assert await exporting == await export(channel)


async def test_a_session_that_was_never_stored_is_waited_for(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        store.open.clear()
        stream = await begin(channel)
        text = PROMPT + await stream.generated(2, 900)
        attaching = asyncio.create_task(attach(channel, offset=0, takeover=True))
        store.open.set()
        _, attached = await attaching
        assert attached.attached.missed.text == text


async def test_an_export_has_all_of_a_text(config: Config, store: LastingStore) -> None:
    other = LastingStore()
    async with serving(config, store) as (daemon, channel):
        text = await long_text(daemon, channel)
        snapshot = await export(channel)
        stream, _ = await attach(channel)
        expected = await stream.generated(5, 50)
    async with serving(config, other) as (_, channel):
        await restore(channel, snapshot)
        assert other.head(COPY_ID).header.text_start == 0
        stream, attached = await attach(channel, COPY_ID, offset=0)
        assert attached.attached.missed.text == text
        assert await stream.generated(5, 50) == expected
    async with serving(config, other) as (_, channel):
        stream, attached = await attach(channel, COPY_ID, offset=0)
        assert attached.attached.missed.text == text + expected


async def test_a_session_that_is_not_durable_imports_what_it_can_remember(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        await long_text(daemon, channel)
        await restore(channel, await export(channel), operations_pb2.DURABILITY_NONE)
        assert (await described(channel, COPY_ID)).offset == len(PROMPT) + 1_500
        again = from_bytes(await export(channel, COPY_ID), 10_000)
        assert again.earlier == b""


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        (b"\x03abc", "earlier text: its tokens are cut off"),
        (b"\x01" + bytes(5_000), "contradicts itself"),
        (b"\x01\xff", "symbols that the model does not know"),
    ],
)
async def test_an_earlier_text_that_cannot_be_is_refused(
    config: Config, store: LastingStore, earlier: bytes, message: str
) -> None:
    async with serving(config, store) as (daemon, channel):
        await long_text(daemon, channel)
        file = from_bytes(await export(channel), 10_000)
        assert len(file.earlier) == 1 + file.session.text_start
        lie = SnapshotFile(file.version, file.model_sha256, file.settings, file.session, earlier)
        with pytest.raises(aio.AioRpcError, match=message) as raised:
            await restore(channel, to_bytes(lie))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_text_is_kept_from_where_a_copy_has_begun(
    config: Config, store: LastingStore
) -> None:
    """A fork remembers what its session does, and its store no more than that."""
    async with serving(config, store) as (daemon, channel):
        text = await long_text(daemon, channel)
        stream, _ = await attach(channel)
        await stream.send(4, fork={"session_id": COPY_ID})
        await answer(stream)
        stream, _ = await attach(channel, COPY_ID)
        text += await stream.generated(5, 600)
        await stored_of(daemon).flushed()
        first = store.head(COPY_ID).header.text_start
        assert 0 < first < len(text) - 800
        _, attached = await attach(channel, COPY_ID, offset=first, takeover=True)
        assert attached.attached.missed.text == text[first:]
        stream = stream_to(channel)
        await stream.send(attach={"session_id": COPY_ID, "offset": first - 1, "takeover": True})
        code, details = await stream.end()
        assert code is OUT_OF_RANGE
        assert f"kept from offset {first} on" in details
        assert len(from_bytes(await export(channel, COPY_ID), 10_000).earlier) > 1


async def test_a_short_text_is_not_looked_for_in_the_store(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(store, "text", unread)
    async with serving(config, store) as (_, channel):
        await begin(channel, LATER)
        _, attached = await attach(channel, offset=0, takeover=True)
        assert attached.attached.missed.text == PROMPT
        assert from_bytes(await export(channel), 10_000).earlier == b""
