"""A session outlives its stream, and another stream attaches to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import Client, FinishReason, OnDisconnect

GUARD_S = 20
TOKENS = 3000


class Broken(Exception):  # an error in the caller's block
    pass


async def left_behind(daemon: Client, fake: FakeDaemon, pause_at: int) -> tuple[str, int]:
    """Leave a session that continues to generate; return its id and how far it was read."""
    fake.pause_at = pause_at
    with suppress(Broken):
        async with daemon.session(on_disconnect="continue") as session:
            await session.append("a")
            async for text in session.generate(max_tokens=10):
                if text == "c":
                    raise Broken
    await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)
    return session.id, session.offset


async def test_a_detached_session_can_be_attached_to(daemon: Client) -> None:
    async with daemon.session(seed=7) as session:
        await session.append("abc")
        await session.detach()
        with pytest.raises(client.Cancelled, match="closed"):
            await session.append("d")
    async with daemon.attach(session.id) as again:
        assert again.id == session.id
        assert again.model.name == "alphabet"
        assert (again.missed, again.running) == ("", ())
        assert again.offset == 3
        assert again.seed == 7
        assert await again.generate(max_tokens=2).text() == "de"
    with pytest.raises(client.NotFound):
        await daemon.get_session(session.id)


async def test_what_was_missed_is_read_and_what_runs_is_resumed(
    daemon: Client, fake: FakeDaemon
) -> None:
    session_id, offset = await left_behind(daemon, fake, pause_at=6)
    assert offset == 3
    async with daemon.attach(session_id, offset=offset) as session:
        assert session.missed == "defg"
        assert session.offset == 7
        (operation_id,) = session.running
        generation = session.resume(operation_id)
        assert session.running == ()
        fake.go_on.set()
        assert await generation.text() == "hijk"
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.MAX_TOKENS
        assert session.offset == 11
        assert await session.generate(max_tokens=1).text() == "l"


async def left_generating(daemon: Client, on_disconnect: OnDisconnect) -> tuple[str, int]:
    """Break off while the model generates; return the session's id and how far it was read."""
    with suppress(Broken):
        async with daemon.session(on_disconnect=on_disconnect) as session:
            await session.append("a")
            async for _ in session.generate(max_tokens=TOKENS):
                raise Broken
    assert await until_detached(daemon, session.id)
    return session.id, session.offset


async def until_detached(daemon: Client, session_id: str) -> bool:
    """Wait until the daemon has seen the stream break; return whether the session is kept."""
    async with asyncio.timeout(GUARD_S):
        with suppress(client.NotFound):
            while (await daemon.get_session(session_id)).attached:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.001)
            return True
    return False


@pytest.mark.parametrize("on_disconnect", ["pause", "continue"])
async def test_a_generation_outlives_its_stream(
    daemon: Client, on_disconnect: OnDisconnect
) -> None:
    session_id, offset = await left_generating(daemon, on_disconnect)
    async with daemon.attach(session_id, offset=offset) as session:
        text = session.missed
        for operation_id in session.running:
            text += await session.resume(operation_id).text()
        assert offset + len(text) == session.offset == 1 + TOKENS
        assert letters("a", TOKENS).endswith(text)
        assert await session.generate(max_tokens=1).text() == letters("a", TOKENS + 1)[-1]


async def test_a_generation_ends_with_its_stream(daemon: Client) -> None:
    session_id, offset = await left_generating(daemon, "cancel")
    async with daemon.attach(session_id, offset=offset) as session:
        assert session.running == ()
        assert session.offset == offset + len(session.missed)
        assert letters("a", session.offset - 1).endswith(session.missed)


async def test_a_session_is_deleted_with_its_stream(daemon: Client) -> None:
    with suppress(Broken):
        async with daemon.session(on_disconnect="delete") as session:
            raise Broken
    assert not await until_detached(daemon, session.id)


async def test_what_is_not_resumed_goes_by_unread(daemon: Client, fake: FakeDaemon) -> None:
    session_id, _ = await left_behind(daemon, fake, pause_at=6)
    async with daemon.attach(session_id) as session:
        (operation_id,) = session.running
        assert session.missed == ""
        appending = asyncio.create_task(session.append("x"))
        await asyncio.sleep(0)
        fake.go_on.set()
        assert (await appending).offset == 12
        with pytest.raises(client.NotFound, match="resume"):
            session.resume(operation_id)


async def test_a_resumed_generation_can_be_cancelled(daemon: Client, fake: FakeDaemon) -> None:
    session_id, _ = await left_behind(daemon, fake, pause_at=6)
    async with daemon.attach(session_id) as session:
        async with session.resume(session.running[0]):
            pass
        assert (await asyncio.wait_for(session.append("x"), GUARD_S)).offset == 8


async def test_only_generations_are_resumed(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_search_at = 0
    with suppress(Broken):
        async with daemon.session(on_disconnect="continue") as session:
            await session.append("a")
            search = asyncio.create_task(session.complete())
            await asyncio.wait_for(fake.paused.wait(), GUARD_S)
            raise Broken
    with pytest.raises(client.CellwireError):
        await search
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)
    async with daemon.attach(session.id) as session:
        rest = session.resume(session.running[0])
        fake.go_on.set()
        with pytest.raises(client.FailedPrecondition, match="not a generation"):
            await rest.text()


async def test_much_that_was_missed_arrives(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("a" + letters("a", 65_000))
        await session.detach()
    async with daemon.attach(session.id, offset=1) as session:
        assert session.missed == letters("a", 65_000)
        assert session.offset == 65_001
        await session.detach()
    with pytest.raises(client.OutOfRange):
        async with daemon.attach(session.id, offset=65_002):
            pytest.fail("it attached")


async def test_attaching_wants_a_session_that_is_free(daemon: Client) -> None:
    with pytest.raises(client.NotFound, match="no session"):
        async with daemon.attach("nobody"):
            pytest.fail("it attached")
    async with daemon.session() as session:
        with pytest.raises(client.FailedPrecondition, match="takeover"):
            async with daemon.attach(session.id):
                pytest.fail("it attached")
        assert await session.append("a")


async def test_a_session_that_is_taken_over_is_aborted(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        async with daemon.attach(session.id, takeover=True) as other:
            with pytest.raises(client.Aborted, match="taken"):
                await session.append("d")
            assert await other.generate(max_tokens=2).text() == "de"


async def test_a_takeover_takes_the_generation(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 0
    async with daemon.session() as session:
        await session.append("abc")
        reading = asyncio.create_task(session.generate(max_tokens=2).text())
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        async with daemon.attach(session.id, takeover=True) as other:
            with pytest.raises(client.Aborted, match="taken"):
                await reading
            with pytest.raises(client.Aborted):
                await session.append("d")
            fake.go_on.set()
            assert await other.resume(other.running[0]).text() == "de"


async def test_a_session_that_is_deleted_is_aborted(daemon: Client) -> None:
    async with daemon.session() as session:
        await daemon.delete_session(session.id)
        with pytest.raises(client.Aborted, match="deleted"):
            await session.append("a")
    with pytest.raises(client.NotFound):
        await daemon.delete_session(session.id)
