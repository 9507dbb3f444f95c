"""A durable session of a daemon that is scripted: what is lost, and what the client makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters
from tests.client.fake.refused import Refused

from cellwire import client
from cellwire.client import (
    Client,
    ConnectionLost,
    ConnectionRestored,
    Durability,
    FinishReason,
    SafePoint,
    Session,
    connect,
)
from cellwire.v1.operations_pb2 import Append, DoneOperation

GUARD_S = 20
SAFE_LATER = Durability.SAFE_LATER
GONE = Refused(grpc.StatusCode.UNAVAILABLE, "the daemon is starting")


@pytest.fixture
async def fake() -> AsyncIterator[FakeDaemon]:
    fake = FakeDaemon()
    await fake.start()
    async with asyncio.timeout(GUARD_S):
        yield fake
    await fake.stop()


@pytest.fixture
async def daemon(fake: FakeDaemon) -> AsyncIterator[Client]:
    async with connect(fake.target) as daemon:
        yield daemon


HIDDEN = Refused(grpc.StatusCode.CANCELLED, "HAProxy has reset it")
HIDDEN.status.Clear()


class Broken(Exception):  # an error in the caller's block
    pass


def sent(fake: FakeDaemon, kind: str) -> int:
    return sum(one.WhichOneof("operation") == kind for one in fake.requests)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # the daemon has no event for it
        await asyncio.sleep(0)


async def test_a_generation_goes_on_where_it_was(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 5
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=20).text())
        await fake.paused.wait()
        fake.pause_at = None
        fake.restart()
        assert await reading == letters("a", 20)
        assert session.offset == 21
        again = fake.sent("generate")
        assert (again.start_offset, again.max_tokens) == (1, 20)


async def test_its_pieces_tell_where_they_are(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 3
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        generation = session.generate(max_tokens=6)
        offset = 1
        async for piece in generation.pieces():
            assert piece.offset == offset
            offset = piece.end_offset
            if offset == 4:
                fake.pause_at = None
                fake.restart()
        assert offset == 7
        assert generation.finished is not None
        assert generation.finished.usage.generated_tokens == 6


async def test_a_stream_that_breaks_alone_breaks_nothing(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 5
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=20).text())
        await fake.paused.wait()
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.break_off(grpc.StatusCode.UNAVAILABLE, "the proxy is gone")
        fake.go_on.set()
        assert await reading == letters("a", 20)
        assert sent(fake, "generate") == 1


async def test_what_is_cancelled_meanwhile_is_cancelled(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 5
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        generation = session.generate(max_tokens=20)
        reading = asyncio.create_task(generation.text())
        await fake.paused.wait()
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.break_off(grpc.StatusCode.UNAVAILABLE, "the proxy is gone")
        generation.cancel()
        assert await reading == letters("a", 5)
        assert generation.finished is not None
        assert generation.finished.reason is FinishReason.CANCELLED
        assert (await session.append("x")).offset == 7


async def test_what_was_begun_and_is_cancelled_ends_where_it_is(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.pause_at = 5
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        generation = session.generate(max_tokens=20)
        reading = asyncio.create_task(generation.text())
        await fake.paused.wait()
        fake.restart()
        generation.cancel()
        assert await reading == letters("a", 5)
        assert (await session.append("x")).offset == 7


async def test_an_open_that_was_lost_is_sent_again(daemon: Client, fake: FakeDaemon) -> None:
    fake.opening_refusals = [GONE, GONE]
    async with daemon.session(durability=SAFE_LATER) as session:
        assert list(fake.sessions) == [session.id]
    assert sent(fake, "open") == 3


async def test_an_open_whose_answer_was_lost_is_attached_to(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.lost_answers = 1
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        assert list(fake.sessions) == [session.id]
        assert (sent(fake, "open"), sent(fake, "attach")) == (2, 1)
        assert fake.sent("attach").session_id == session.id


async def test_an_id_that_is_taken_is_refused(daemon: Client) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        with pytest.raises(client.AlreadyExists):
            async with daemon.session(durability=SAFE_LATER, session_id=session.id):
                pytest.fail("it opened")


async def test_what_was_done_is_not_done_again(daemon: Client, fake: FakeDaemon) -> None:
    """The answer of an append is lost, and that of the attach, too."""
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        stub = fake.sessions[session.id]
        stream = stub.stream
        assert stream is not None
        stream.let_go()  # it carries out, and says nothing
        appending = asyncio.create_task(session.append("b"))
        await until(lambda: len(stub.done) == 2)
        fake.lost_answers = 1
        fake.restart()
        assert (await appending).offset == 2
        assert stub.text.data == b"ab"
        assert sent(fake, "append") == 2


async def test_a_copy_that_was_made_is_not_made_again(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.let_go()
        forking = asyncio.create_task(session.fork())
        await until(lambda: len(fake.sessions) == 2)
        fake.restart()
        forked = await forking
        assert set(fake.sessions) == {session.id, forked.session_id}
        assert forked.seed == fake.sessions[forked.session_id].text.seed()


async def test_a_completion_is_accepted_after_a_restart(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        await session.complete(max_tokens=4)
        fake.restart()
        assert (await session.accept(tokens=3)).offset == 4
        assert fake.sent("append").text == "bcd"


async def test_a_close_whose_answer_was_lost_has_closed(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.let_go()
        closing = asyncio.create_task(session.__aexit__(None, None, None))
        await until(lambda: not fake.sessions)
        stream.break_off(grpc.StatusCode.UNAVAILABLE, "the connection is lost")
        await closing
    assert sent(fake, "close") == 1


async def test_callers_hear_of_a_pause(fake: FakeDaemon) -> None:
    news: list[ConnectionLost | ConnectionRestored] = []
    async with (
        connect(fake.target, on_reconnect=news.append) as daemon,
        daemon.session(durability=SAFE_LATER) as session,
    ):
        fake.restart()
        await session.append("a")
        lost, restored = news
        assert isinstance(lost, ConnectionLost)
        assert isinstance(lost.cause, client.Unavailable)
        assert isinstance(restored, ConnectionRestored)
        assert {lost.session_id, restored.session_id} == {session.id}
        assert 0 < restored.pause_s < GUARD_S


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, client.NotFound),
        (grpc.StatusCode.DATA_LOSS, client.DataLoss),
        (grpc.StatusCode.FAILED_PRECONDITION, client.FailedPrecondition),
    ],
)
async def test_what_no_attempt_can_mend_is_raised(
    daemon: Client, fake: FakeDaemon, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        fake.opening_refusals = [GONE, Refused(code, "so it is")]
        fake.restart()
        with pytest.raises(kind, match="so it is"):
            await session.append("b")
        with pytest.raises(kind, match="so it is"):
            await session.append("c")


async def test_a_daemon_that_has_lost_what_was_safe(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        await session.append("b")
        stub = fake.sessions[session.id]
        stub.text.revision, stub.text.data = 1, b"a"
        fake.restart()
        with pytest.raises(client.DataLoss, match="revision 2 was safe"):
            await session.append("c")


async def test_text_that_was_not_safe_is_written_again(daemon: Client, fake: FakeDaemon) -> None:
    fake.saves, fake.pause_at = False, 5
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        reading = asyncio.create_task(session.generate(max_tokens=20).text())
        await fake.paused.wait()
        stub = fake.sessions[session.id]
        await until(lambda: session.offset == 6)
        fake.pause_at = None
        fake.restart()
        stub.text.data, stub.text.revision = b"abc", 3
        assert await reading == letters("a", 20)
        assert stub.text.data.decode() == "a" + letters("a", 20)


async def test_a_session_that_was_not_safe_is_opened_again(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.saves = False
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        assert session.safe is None
        stub = fake.sessions.pop(session.id)
        stub.restart()
        assert (await session.append("b")).offset == 2
        assert fake.sessions[session.id].text.data == b"ab"


async def test_text_of_operations_that_nobody_resumes_goes_by(
    daemon: Client, fake: FakeDaemon
) -> None:
    session = await left(daemon, fake)
    async with daemon.attach(session.id, takeover=True) as again:
        appending = asyncio.create_task(again.append("x"))
        await asyncio.sleep(0)
        fake.go_on.set()
        assert (await appending).offset == 8
        with pytest.raises(client.NotFound, match="resume"):
            again.resume(1)


async def test_a_session_whose_text_is_left_unread_is_closed(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.pause_at = 3
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        async for piece in session.generate(max_tokens=6):
            assert piece
            break
        assert (await session.append("x")).offset < 7
        reading = aiter(session.generate(max_tokens=2))
        assert await anext(reading)
    assert session.id not in fake.sessions


async def test_a_session_that_another_client_has_taken_is_not_taken_back(
    daemon: Client, fake: FakeDaemon
) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        async with daemon.attach(session.id, takeover=True) as other:
            with pytest.raises(client.Aborted, match="taken"):
                await session.append("b")
            await other.append("b")
            assert fake.sessions[session.id].text.data == b"ab"


async def test_a_session_that_has_moved_is_attached_to(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        stub = fake.sessions[session.id]
        stream, stub.stream = stub.stream, None
        assert stream is not None
        stream.break_off(grpc.StatusCode.ABORTED, "another daemon holds this session now")
        assert (await session.append("b")).offset == 2


async def test_a_session_that_a_proxy_hides_the_end_of_is_gone(
    daemon: Client, fake: FakeDaemon
) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        stub = fake.sessions.pop(session.id)
        assert stub.stream is not None
        fake.opening_refusals = [HIDDEN]
        stub.stream.break_off(grpc.StatusCode.UNAVAILABLE, "the proxy is gone")
        with pytest.raises(client.NotFound):
            await session.append("b")


async def test_a_takeover_that_a_proxy_hides_is_one(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        stream = fake.sessions[session.id].stream
        async with daemon.attach(session.id, takeover=True) as other:
            assert stream is not None
            stream._broken = HIDDEN
            fake.opening_refusals = [HIDDEN] * 4
            with pytest.raises(client.Aborted, match="taken"):
                await session.append("b")
            await other.append("b")


async def test_a_daemon_that_a_proxy_cannot_reach_is_tried_again(
    daemon: Client, fake: FakeDaemon
) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        fake.opening_refusals = [HIDDEN, HIDDEN]
        fake.restart()
        assert (await session.append("b")).offset == 2


async def test_an_open_that_a_proxy_hides_the_refusal_of(daemon: Client, fake: FakeDaemon) -> None:
    fake.opening_refusals = [HIDDEN]
    async with daemon.session(durability=SAFE_LATER) as session:
        assert (await session.append("a")).offset == 1


@pytest.mark.parametrize("saves", [True, False])
async def test_a_session_that_was_deleted_says_so(
    daemon: Client,
    fake: FakeDaemon,
    saves: bool,  # noqa: FBT001  # a parameter
) -> None:
    fake.saves = saves
    async with daemon.session(durability=SAFE_LATER) as session:
        await daemon.delete_session(session.id)
        with pytest.raises(client.Aborted, match="deleted"):
            await session.append("a")


async def test_what_another_client_has_done_meanwhile_ends_it(
    daemon: Client, fake: FakeDaemon
) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        stub = fake.sessions[session.id]
        foreign = DoneOperation(operation_id=5, appended=stub.text.append(Append(text="b")))
        stub.done = [*stub.done, foreign]
        fake.restart()
        with pytest.raises(client.Aborted, match="another client"):
            await session.append("c")


async def test_the_time_to_come_back_is_bounded(fake: FakeDaemon) -> None:
    async with (
        connect(fake.target, reconnect_timeout_s=0.2) as daemon,
        daemon.session(durability=SAFE_LATER) as session,
    ):
        await fake.stop()
        with pytest.raises(client.Unavailable):
            await session.append("b")


async def test_the_last_refusal_is_raised(fake: FakeDaemon) -> None:
    fake.opening_refusal = GONE
    async with connect(fake.target, reconnect_timeout_s=0.2) as daemon:
        with pytest.raises(client.Unavailable, match="starting"):
            async with daemon.session(durability=SAFE_LATER):
                pytest.fail("it opened")


async def test_without_reconnect_a_loss_is_raised(fake: FakeDaemon) -> None:
    async with (
        connect(fake.target, reconnect=False) as daemon,
        daemon.session(durability=SAFE_LATER) as session,
    ):
        await session.append("a")
        assert session.safe == SafePoint(1, 1)
        fake.restart()
        with pytest.raises(client.Unavailable, match="shutting down"):
            await session.append("b")


async def test_a_session_that_is_not_durable_is_lost(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(on_disconnect="pause") as session:
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.break_off(grpc.StatusCode.UNAVAILABLE, "the proxy is gone")
        with pytest.raises(client.Unavailable, match="proxy"):
            await session.append("a")
        assert session.safe is None


async def test_a_session_says_what_is_safe(daemon: Client) -> None:
    async with daemon.session(durability="safe_first") as session:
        await session.append("ab")
        assert session.safe == SafePoint(1, 2)
        assert await session.save() == SafePoint(1, 2)


async def left(daemon: Client, fake: FakeDaemon) -> Session:
    """Leave a durable session whose generation is under way."""
    fake.pause_at = 3
    with suppress(Broken):
        async with daemon.session(durability=SAFE_LATER) as session:
            await session.append("a")
            async for piece in session.generate(max_tokens=6):
                if piece == "d":
                    raise Broken
    return session


async def test_an_attached_session_comes_back_too(daemon: Client, fake: FakeDaemon) -> None:
    session = await left(daemon, fake)
    async with daemon.attach(session.id, offset=0, takeover=True) as again:
        assert again.missed == "abcd"
        resumed = again.resume(again.running[0])
        stream = fake.sessions[session.id].stream
        assert stream is not None
        stream.break_off(grpc.StatusCode.UNAVAILABLE, "the proxy is gone")
        fake.go_on.set()
        assert await resumed.text() == "efg"
        fake.pause_at = None
        fake.restart()
        assert await again.generate(max_tokens=2).text() == "hi"


async def test_what_another_client_had_begun_cannot_be_sent_again(
    daemon: Client, fake: FakeDaemon
) -> None:
    session = await left(daemon, fake)
    async with daemon.attach(session.id, takeover=True) as again:
        resumed = again.resume(again.running[0])
        fake.restart()
        with pytest.raises(client.Aborted, match="only that client"):
            await resumed.text()


async def test_an_attach_that_was_lost_is_sent_again(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session(durability=SAFE_LATER) as session:
        await session.append("a")
        await session.detach()
    fake.opening_refusals = [GONE]
    async with daemon.attach(session.id) as again:
        assert again.offset == 1
    assert sent(fake, "attach") == 2


async def test_all_calls_about_a_session_name_it(daemon: Client, fake: FakeDaemon) -> None:
    for durability in (Durability.NONE, SAFE_LATER):
        fake.session_ids.clear()
        async with daemon.session(durability=durability) as session:
            await session.append("a")
            await daemon.get_session(session.id)
            await daemon.fork_session(session.id)
            snapshot = await daemon.export_session(session.id)
            await session.detach()
        async with daemon.attach(session.id) as again:
            await again.detach()
        await daemon.delete_session(session.id)
        assert [named for _, named in fake.session_ids] == [session.id] * 6
        imported = await daemon.import_session(snapshot)
        assert fake.session_ids[-1] == ("ImportSession", imported.session_id)
