"""Several daemons on one store: any serves any session, and one at a time holds it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from tests.server.rpc.conftest import GUARD_S, Stream, described, is_there, until
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    PROMPT,
    SESSION_ID,
    answer,
    attach,
    begin,
    safe_at,
    serving,
    session_of,
    stored_of,
    stream_to,
)
from tests.server.rpc.several import (
    Cluster,
    Node,
    close_and_keep,
    cluster,
    first_answer,
    free,
    status_of_attach,
    two,
)

from cellwire.server.errors import DamagedRecord, StoreFailed
from cellwire.server.host import sharing
from cellwire.server.host.config import Config
from cellwire.server.host.own_thread import own_threads
from cellwire.server.rpc.daemon import STORE
from cellwire.server.state.stored_session import StoredSession
from cellwire.server.store.writes import Release
from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

__all__ = ["cluster"]

OTHER_ID = "f" * 32
TAKEN_OVER = (grpc.StatusCode.ABORTED, "another stream has taken the session over")
MOVED = (
    grpc.StatusCode.ABORTED,
    f"another daemon holds the session '{SESSION_ID}' now; attach again",
)
HAS_A_CLIENT = (
    grpc.StatusCode.FAILED_PRECONDITION,
    "another stream is attached to the session; takeover takes it",
)


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


async def details_of(call: Any) -> dict[str, Any]:  # noqa: ANN401  # grpc.aio's calls have no type
    """Return the details of a call's status: how long to wait, and the reason."""
    status = await rpc_status.aio.from_call(call)
    assert status is not None
    retry, info, found = RetryInfo(), ErrorInfo(), dict[str, Any]()
    for detail in status.details:
        if detail.Unpack(retry):
            found["delay_s"] = retry.retry_delay.ToMilliseconds() / 1_000
        if detail.Unpack(info):
            found["reason"] = info.reason
    return found


async def rest_of(stream: Stream) -> list[StreamSessionResponse]:
    """Read all answers until the stream ends."""
    responses = []
    with suppress(aio.AioRpcError):
        while isinstance(response := await stream.call.read(), StreamSessionResponse):
            responses.append(response)
    return responses


# Hand-over


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_session_goes_on_at_another_daemon(
    config: Config, cluster: Cluster, durability: str
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 120)
    async with two(cluster, config) as (first, second):
        stream, text = await begin(first.channel, durability), ""
        for number, node in enumerate([first, second] * 3, 1):
            if number > 1:
                stream, attached = await attach(node.channel, offset=0)
                assert attached.attached.missed.text == PROMPT + text
                assert attached.safe.revision == attached.revision
            text += await stream.generated(number + 1, 20)
            await close_and_keep(stream)
            await free(node)
        assert text == expected
        assert not first.has()
        assert cluster.holder() == second.daemon_id


async def test_a_session_with_a_client_stays_unless_it_is_taken_over(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        assert await status_of_attach(second.channel) == HAS_A_CLIENT
        assert len(await stream.generated(2, 10)) == 10
        taken, attached = await attach(second.channel, takeover=True)
        assert attached.attached.offset == len(PROMPT) + 10
        assert [done.operation_id for done in attached.attached.done] == [1, 2]
        assert await stream.end() == TAKEN_OVER
        assert await status_of_attach(first.channel) == HAS_A_CLIENT
        assert len(await taken.generated(3, 10)) == 10


async def test_a_session_with_a_client_is_described_from_the_store(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        text = PROMPT + await stream.generated(2, 1_500)
        await stored_of(first.daemon).flushed()
        there = await described(first.channel, SESSION_ID)
        assert there.tail == text[-1_024:]
        assert there.attached
        assert await described(second.channel, SESSION_ID) == there
        assert first.has()
        export = sessions_pb2.ExportSessionRequest(session_id=SESSION_ID)
        with pytest.raises(aio.AioRpcError) as raised:
            await SessionsServiceStub(second.channel).ExportSession(export)
        assert (raised.value.code(), raised.value.details()) == HAS_A_CLIENT


async def test_a_running_generate_is_handed_over_where_it_is(
    config: Config, cluster: Cluster
) -> None:
    async with serving(config) as (_, channel):
        expected = await (await begin(channel, None)).generated(2, 3_000)
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        await stream.send(2, generate={"max_tokens": 3_000})
        await stream.until("chunk")
        again, attached = await attach(second.channel, offset=len(PROMPT), takeover=True)
        text = attached.attached.missed.text
        text += await again.generated(2, 3_000, start_offset=len(PROMPT))
        assert text == expected
        assert await stream.end() == TAKEN_OVER


async def test_a_session_at_work_without_a_client_stays_unless_it_is_taken_over(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, replace(config, drain_timeout_s=0)) as (first, second):
        stream = await begin(first.channel, on_disconnect="ON_DISCONNECT_CONTINUE")
        await stream.send(2, generate={"max_tokens": 1_000_000})
        await stream.until("chunk")
        stream.call.cancel()
        await free(first)
        assert (await status_of_attach(second.channel))[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert first.has()
        _, attached = await attach(second.channel, takeover=True)
        assert not attached.attached.operation_ids
        assert not first.has()


async def test_all_calls_reach_a_session_elsewhere(config: Config, cluster: Cluster) -> None:
    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        assert (await described(second.channel, SESSION_ID)).tail == PROMPT
        stub = SessionsServiceStub(first.channel)
        exported = await stub.ExportSession(
            sessions_pb2.ExportSessionRequest(session_id=SESSION_ID)
        )
        fork = sessions_pb2.ForkSessionRequest(session_id=SESSION_ID, new_session_id=OTHER_ID)
        await SessionsServiceStub(second.channel).ForkSession(fork)
        assert cluster.holder(OTHER_ID) == second.daemon_id
        assert (await described(first.channel, OTHER_ID)).tail == PROMPT
        imported = await stub.ImportSession(
            sessions_pb2.ImportSessionRequest(
                snapshot=exported.snapshot, durability=operations_pb2.DURABILITY_SAFE_LATER
            )
        )
        copy_id = imported.session.session_id
        await stored_of(first.daemon).flushed()
        assert (await described(second.channel, copy_id)).tail == PROMPT


async def test_many_daemons_ask_for_one_session_at_once(config: Config, cluster: Cluster) -> None:
    """Each gets it in the end, whatever the others do; it is never at two of them."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(cluster.serving(config)) for _ in range(3)]
        await close_and_keep(await begin(nodes[0].channel))
        for _ in range(3):
            found = await asyncio.gather(
                *(described(node.channel, SESSION_ID) for node in nodes * 4)
            )
            assert {session.offset for session in found} == {len(PROMPT)}
        streams = [stream_to(node.channel) for node in nodes * 2]
        for stream in streams:
            await stream.send(attach={"session_id": SESSION_ID, "takeover": True})
        ends = [asyncio.create_task(stream.end()) for stream in streams]
        await until(lambda: sum(end.done() for end in ends) == 5)
        assert {end.result() for end in ends if end.done()} == {TAKEN_OVER}
        await until(lambda: sum(node.has() for node in nodes) == 1)
        for end in ends:
            end.cancel()


async def test_a_session_is_asked_for_while_it_wakes(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(cluster.serving(config)) for _ in range(3)]
        await close_and_keep(await begin(nodes[0].channel))
        loading, go_on, load = threading.Event(), threading.Event(), nodes[1].opened.store.load

        def slow(session_id: str, last_tokens: int) -> StoredSession:
            loading.set()
            go_on.wait(GUARD_S)
            return load(session_id, last_tokens)

        monkeypatch.setattr(nodes[1].opened.store, "load", slow)
        waking = asyncio.create_task(described(nodes[1].channel, SESSION_ID))
        await until(loading.is_set)
        second = asyncio.create_task(described(nodes[2].channel, SESSION_ID))
        await until(lambda: SESSION_ID in stored_of(nodes[2].daemon).residents._kept)
        go_on.set()
        assert (await waking).offset == (await second).offset == len(PROMPT)


async def test_a_session_is_asked_for_while_it_leaves(config: Config, cluster: Cluster) -> None:
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        await close_and_keep(stream)
        await free(first)
        session_of(first.daemon).leave()
        assert (await described(second.channel, SESSION_ID)).offset == len(PROMPT)


async def test_a_session_that_nobody_let_go_is_released(config: Config, cluster: Cluster) -> None:
    """As after a claim whose answer was lost."""
    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        session_of(first.daemon).leave()
        await until(lambda: not first.has())
        await stored_of(first.daemon).flushed()
        assert first.opened.leases is not None
        assert first.opened.leases.claim(SESSION_ID) is None
        assert (await described(second.channel, SESSION_ID)).offset == len(PROMPT)


async def test_a_holder_that_does_not_answer_is_unavailable(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        second.silent = True
        stream = stream_to(second.channel)
        await stream.send(attach={"session_id": SESSION_ID})
        code, details = await stream.end()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "does not hand it over" in details
        assert (await details_of(stream.call))["delay_s"] > 0
        second.silent = False
        assert (await described(second.channel, SESSION_ID)).offset == len(PROMPT)


async def test_takeover_joins_a_caller_who_waits(config: Config, cluster: Cluster) -> None:
    """The first would be refused, for the session has a client."""
    async with two(cluster, config) as (first, second):
        await begin(first.channel)
        first.silent = True
        waiting = stream_to(second.channel)
        await waiting.send(attach={"session_id": SESSION_ID})
        await until(lambda: SESSION_ID in stored_of(second.daemon).residents._kept)
        taking = asyncio.create_task(attach(second.channel, takeover=True))
        _, attached = await taking
        assert attached.attached.offset == len(PROMPT)
        waiting.call.cancel()


@pytest.mark.parametrize(
    ("method", "warning"), [("claim", "cannot hand over"), ("send", "cannot tell of")]
)
async def test_a_session_that_cannot_be_let_go_is_asked_for_again(
    config: Config,
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    warning: str,
) -> None:
    """Its daemon holds it without having it, and does not reach the store."""

    def failing(*_: object) -> None:
        raise StoreFailed("the server does not answer")

    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        session_of(first.daemon).leave()
        await until(lambda: not first.has())
        await stored_of(first.daemon).flushed()
        assert first.opened.leases is not None
        first.opened.leases.claim(SESSION_ID)
        with monkeypatch.context() as context:
            context.setattr(first.opened.leases, method, failing)
            asking = asyncio.create_task(described(second.channel, SESSION_ID))
            await until(lambda: warning in caplog.text)
        assert (await asking).offset == len(PROMPT)


async def test_a_session_is_asked_for_while_it_cannot_leave(
    config: Config, cluster: Cluster
) -> None:
    """Its last changes are not in the store yet."""
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        await stored_of(first.daemon).flushed()
        first.pause()
        await stream.send(2, append={"text": "more"})
        assert (await answer(stream)).appended.offset == len(PROMPT + "more")
        session_of(first.daemon).leave()
        asking = asyncio.create_task(described(second.channel, SESSION_ID))
        await until(lambda: SESSION_ID in stored_of(second.daemon).residents._kept)
        first.resume()
        assert (await asking).offset == len(PROMPT + "more")


async def test_a_daemon_that_does_not_know_its_lease_waits(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "SAFE_FIRST_TIMEOUT_S", 0.05)
    async with cluster.serving(config) as node:
        await close_and_keep(await begin(node.channel))
        await begin(node.channel, None, OTHER_ID)
        node.pause()
        cluster.run_out()
        code, details = await status_of_attach(node.channel)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "cannot renew its lease" in details
        assert (await described(node.channel, OTHER_ID)).tail == PROMPT  # it is not durable
        node.resume()
        assert (await described(node.channel, SESSION_ID)).tail == PROMPT


# Who creates


async def test_two_daemons_open_one_id_at_once(config: Config, cluster: Cluster) -> None:
    async with two(cluster, config) as nodes:
        for number in range(10):
            session_id = f"{number:032x}"
            streams = [stream_to(node.channel) for node in nodes]
            for stream in streams:
                await stream.send(open={"session_id": session_id, "durability": LATER})
            read = await asyncio.gather(*map(first_answer, streams))
            won, lost = streams if read[0] else streams[::-1]
            assert [bool(opened) for opened in read].count(True) == 1
            assert (await lost.end())[0] is grpc.StatusCode.ALREADY_EXISTS
            await won.send(1, append={"text": PROMPT})
            assert (await answer(won)).appended.offset == len(PROMPT)


async def test_what_follows_an_open_waits_with_it(config: Config, cluster: Cluster) -> None:
    async with cluster.serving(config) as node:
        node.pause()
        stream = stream_to(node.channel)
        node.resume()
        await stream.send(open={"session_id": SESSION_ID, "durability": LATER})
        await stream.send(1, append={"text": PROMPT})
        assert (await stream.receive()).HasField("opened")
        assert (await answer(stream)).appended.offset == len(PROMPT)


@pytest.mark.parametrize("way", ["fork", "import"])
async def test_two_daemons_copy_to_one_id_at_once(
    config: Config, cluster: Cluster, way: str
) -> None:
    async with two(cluster, config) as nodes:
        calls = []
        for number, node in enumerate(nodes):
            await begin(node.channel, session_id=f"{number:032x}")
            stub = SessionsServiceStub(node.channel)
            snapshot = (
                await stub.ExportSession(
                    sessions_pb2.ExportSessionRequest(session_id=f"{number:032x}")
                )
            ).snapshot
            fork = sessions_pb2.ForkSessionRequest(
                session_id=f"{number:032x}", new_session_id=OTHER_ID
            )
            restore = sessions_pb2.ImportSessionRequest(
                snapshot=snapshot,
                session_id=OTHER_ID,
                durability=operations_pb2.DURABILITY_SAFE_LATER,
            )
            call: Any = stub.ForkSession(fork) if way == "fork" else stub.ImportSession(restore)
            calls.append(call)
        codes = {await call.code() for call in calls}
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.ALREADY_EXISTS}
        assert sum(node.has(OTHER_ID) for node in nodes) == 1


# Leases that run out


async def lapse(cluster: Cluster, paused: Node, other: Node) -> tuple[Stream, int]:
    """Let a daemon's session wake elsewhere while it is paused; return the stream, and its text."""
    paused.pause()
    other.silent = True  # otherwise it hands the session over when it goes on
    attaching = asyncio.create_task(attach(other.channel, takeover=True))
    cluster.run_out()
    stream, attached = await attaching
    other.silent = False
    await until(lambda: cluster.shared.lives(other.daemon_id))  # its lease has run out, too
    return stream, attached.attached.offset


async def test_the_session_of_a_dead_daemon_wakes_when_its_lease_has_run_out(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel, FIRST)
        await stream.generated(2, 10)
        first.pause()
        code, _ = await status_of_attach(second.channel)
        assert code is grpc.StatusCode.UNAVAILABLE
        attaching = asyncio.create_task(attach(second.channel))
        cluster.run_out()
        _, attached = await attaching
        assert attached.attached.offset == len(PROMPT) + 10


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_paused_daemon_goes_on_and_writes_nothing(
    config: Config, cluster: Cluster, durability: str
) -> None:
    async with two(cluster, config) as (first, second):
        stale = await begin(first.channel, durability)
        await stale.send(9, save={})
        await stale.until("saved")
        stream, offset = await lapse(cluster, first, second)
        assert offset == len(PROMPT)
        text = await stream.generated(2, 10)
        await stale.send(10, append={"text": "never safe"})
        if durability == LATER:
            appended = await answer(stale)
            assert appended.appended.offset == len(PROMPT + "never safe")
            assert (appended.revision, appended.safe.revision) == (2, 1)
        first.resume()
        for response in await rest_of(stale):
            assert response.HasField("saved")
            assert response.safe.revision == 1
        assert await stale.end() == MOVED
        found = await details_of(stale.call)
        assert found["reason"] == "SESSION_MOVED"
        assert 0 < found["delay_s"] < 1
        assert not first.has()
        await stream.send(3, append={"text": "goes on"})
        await safe_at(stream, 3)
        stream, attached = await attach(first.channel, offset=0, takeover=True)
        assert attached.attached.missed.text == PROMPT + text + "goes on"


async def test_what_was_answered_late_is_not_called_safe(config: Config, cluster: Cluster) -> None:
    """Answers that the client has not read yet when its session ends."""
    async with two(cluster, config) as (first, second):
        stale = await begin(first.channel)
        await stale.send(9, save={})
        await stale.until("saved")
        await lapse(cluster, first, second)
        await stale.send(10, generate={"max_tokens": 2_000})
        session = session_of(first.daemon)
        await until(lambda: session.revision > 1)
        first.resume()
        await until(lambda: not first.has())
        assert {response.safe.revision for response in await rest_of(stale)} <= {1}
        assert session.safe_point == (1, len(PROMPT))
        assert await stale.end() == MOVED


async def test_a_daemon_that_was_paused_looks_before_it_answers(
    config: Config, cluster: Cluster
) -> None:
    """It still has the session, with an older text; the other has released it meanwhile."""
    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        stream, _ = await lapse(cluster, first, second)
        await stream.generated(2, 10)
        await close_and_keep(stream)
        await free(second)
        session_of(second.daemon).leave()
        await until(lambda: not second.has())
        await stored_of(second.daemon).flushed()
        assert first.has()
        asking = asyncio.create_task(described(first.channel, SESSION_ID))
        first.resume()
        assert (await asking).offset == len(PROMPT) + 10


async def test_a_session_does_not_wake_over_a_lapse(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its claim and its text, others may have had it."""
    loading, go_on = threading.Event(), threading.Event()

    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        load = second.opened.store.load

        def slow(session_id: str, last_tokens: int) -> StoredSession:
            stored = load(session_id, last_tokens)
            loading.set()
            go_on.wait(GUARD_S)
            return stored

        monkeypatch.setattr(second.opened.store, "load", slow)
        asking = asyncio.create_task(status_of_attach(second.channel))
        await until(loading.is_set)
        lease = stored_of(second.daemon).lease
        assert lease is not None
        cluster.run_out()
        await until(lambda: lease.lapses > 0)
        go_on.set()
        assert (await asking)[0] is grpc.StatusCode.UNAVAILABLE
        await stored_of(second.daemon).flushed()
        assert cluster.holder() == ""
        assert (await described(first.channel, SESSION_ID)).offset == len(PROMPT)


async def test_what_was_lost_is_looked_for_until_the_store_says_it(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        await stored_of(first.daemon).flushed()  # it would hear of it by a write
        leases = first.opened.leases
        assert leases is not None
        lost = leases.lost

        def failing(session_ids: Sequence[str]) -> list[str]:
            nonlocal looks
            looks += 1
            if looks < 3:
                raise StoreFailed("the server does not answer")
            return lost(session_ids)

        monkeypatch.setattr(leases, "lost", failing)
        stream, _ = await lapse(cluster, first, second)
        assert len(await stream.generated(2, 10)) == 10
        first.resume()
        assert (await described(first.channel, SESSION_ID)).offset == len(PROMPT) + 10
        assert looks == 3


async def test_a_daemon_stops_while_it_waits_for_others(config: Config, cluster: Cluster) -> None:
    """For the daemon that holds a session, and for its own store to hand one over."""
    async with two(cluster, replace(config, drain_timeout_s=0)) as (first, second):
        await begin(first.channel)
        await begin(second.channel, session_id=OTHER_ID)
        await stored_of(first.daemon).flushed()
        first.pause()
        asking = asyncio.create_task(status_of_attach(second.channel))
        await until(lambda: SESSION_ID in stored_of(second.daemon).residents._kept)
        await second.daemon.stop()
        assert (await asking)[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_session_that_was_deleted_elsewhere_is_gone(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        stale = await begin(first.channel)
        await stored_of(first.daemon).flushed()
        stream, _ = await lapse(cluster, first, second)
        await stream.send(2, close={})
        await stream.until("closed")
        await stored_of(second.daemon).flushed()
        first.resume()
        assert (await stale.end())[0] is grpc.StatusCode.ABORTED
        assert not await is_there(first.channel, SESSION_ID)


async def test_a_lapse_that_nobody_used_costs_nothing(
    config: Config, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster.serving(config) as node:
        stream = await begin(node.channel)
        cluster.run_out()
        await until(lambda: "had run out" in caplog.text)
        assert len(await stream.generated(2, 20)) == 20
        await stream.send(3, save={})
        await stream.until("saved")
        assert "held by others" not in caplog.text


async def test_a_store_that_cannot_be_reached_shows_in_health(
    config: Config, cluster: Cluster
) -> None:
    """Sessions go on meanwhile, and can be attached to: nobody else reaches the store either."""
    async with cluster.serving(config) as node:
        health: Any = health_pb2_grpc.HealthStub(node.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=STORE))
        stream = await begin(node.channel)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        node.failure = StoreFailed("the server does not answer")
        cluster.run_out()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert len(await stream.generated(2, 20)) == 20
        _, attached = await attach(node.channel, takeover=True)
        assert attached.attached.offset == len(PROMPT) + 20
        node.failure = None
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING


# Ends


async def test_a_daemon_that_stops_leaves_its_sessions_to_others(
    config: Config, cluster: Cluster
) -> None:
    async with cluster.serving(config) as second:
        async with cluster.serving(config) as first:
            stream = await begin(first.channel)
            text = await stream.generated(2, 30)
            await first.daemon.stop()
            assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE
            assert cluster.holder() == ""
            assert first.daemon_id not in cluster.shared.leases
        _, attached = await attach(second.channel, offset=0)
        assert attached.attached.missed.text == PROMPT + text


async def test_sessions_that_rest_are_released(config: Config, cluster: Cluster) -> None:
    async with cluster.serving(replace(config, max_resident=0)) as node:
        await close_and_keep(await begin(node.channel))
        await until(lambda: not node.has())
        await stored_of(node.daemon).flushed()
        assert cluster.holder() == ""


async def test_a_session_that_cannot_wake_is_released(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(session_id: str, _: int) -> None:
        raise DamagedRecord("its state is damaged", session_id=session_id)

    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        monkeypatch.setattr(second.opened.store, "load", damaged)
        assert (await status_of_attach(second.channel))[0] is grpc.StatusCode.DATA_LOSS
        await stored_of(second.daemon).flushed()
        assert cluster.holder() == ""
        assert (await described(first.channel, SESSION_ID)).offset == len(PROMPT)


async def test_a_session_that_finds_no_room_is_released(config: Config, cluster: Cluster) -> None:
    async with (
        cluster.serving(config) as first,
        cluster.serving(replace(config, sessions=1)) as second,
    ):
        await close_and_keep(await begin(first.channel))
        await stream_to(second.channel).open()
        assert (await status_of_attach(second.channel))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stored_of(second.daemon).flushed()
        assert cluster.holder() == ""


# Deletion and expiry


def delete(channel: aio.Channel) -> Any:  # noqa: ANN401
    request = sessions_pb2.DeleteSessionRequest(session_id=SESSION_ID)
    return SessionsServiceStub(channel).DeleteSession(request)


async def test_a_session_is_deleted_wherever_it_is(config: Config, cluster: Cluster) -> None:
    async with two(cluster, config) as (first, second):
        stream = await begin(first.channel)
        await delete(second.channel)
        assert (await stream.end())[0] is grpc.StatusCode.ABORTED
        for node in (first, second):
            assert not await is_there(node.channel, SESSION_ID)
        with pytest.raises(aio.AioRpcError) as raised:
            await delete(first.channel)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_deletion_that_the_store_refuses_is_not_answered(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        await begin(first.channel)
        await stored_of(first.daemon).flushed()
        stream, _ = await lapse(cluster, first, second)
        stored = stored_of(first.daemon)
        assert stored.lease is not None
        stored.lease._until_s = float("inf")  # it has not noticed
        deleting = asyncio.create_task(delete(first.channel).code())
        await until(lambda: not first.has())
        first.resume()
        assert await deleting is grpc.StatusCode.ABORTED
        assert (await described(first.channel, SESSION_ID)).attached
        assert len(await stream.generated(2, 5)) == 5


async def test_a_session_is_deleted_and_asked_for_at_once(config: Config, cluster: Cluster) -> None:
    async with two(cluster, config) as (first, second):
        for _ in range(5):
            await close_and_keep(await begin(first.channel))
            _, there = await asyncio.gather(
                delete(first.channel), is_there(second.channel, SESSION_ID)
            )
            assert isinstance(there, bool)
            assert not await is_there(second.channel, SESSION_ID)


async def test_the_sweep_leaves_what_a_living_daemon_holds(
    config: Config, cluster: Cluster
) -> None:
    async with two(cluster, config) as (first, second):
        await begin(first.channel, idle_timeout={"seconds": 1})
        await stored_of(first.daemon).flushed()
        stored = stored_of(second.daemon)
        stored.clock = lambda: 1e12
        await second.daemon.sweep.sweep()
        assert cluster.holder() == first.daemon_id
        first.pause()
        cluster.run_out()
        await second.daemon.sweep.sweep()
        assert SESSION_ID not in cluster.shared.held
        first.resume()


async def test_the_sweep_looks_again_when_it_holds_a_session(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        session_of(first.daemon).leave()
        await until(lambda: not first.has())
        monkeypatch.setattr(second.opened.store, "expired", lambda *_: [SESSION_ID, OTHER_ID])
        await second.daemon.sweep.sweep()
        await stored_of(second.daemon).flushed()
        assert cluster.holder() == ""
        assert await is_there(second.channel, SESSION_ID)


async def test_the_sweep_deletes_what_is_damaged(
    config: Config, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had expired when its record could still be read."""

    def damaged(session_id: str) -> None:
        raise DamagedRecord("its header is damaged", session_id=session_id)

    async with two(cluster, config) as (first, second):
        await close_and_keep(await begin(first.channel))
        await free(first)
        session_of(first.daemon).leave()
        await until(lambda: not first.has())
        await stored_of(first.daemon).flushed()
        stored_of(second.daemon).clock = lambda: 1e12
        monkeypatch.setattr(second.opened.store, "head", damaged)
        await second.daemon.sweep.sweep()
        assert SESSION_ID not in cluster.shared.held


async def test_a_store_of_one_daemon_has_no_leases(config: Config, tmp_path: Path) -> None:
    async with serving(replace(config, state=tmp_path / "state")) as (_, channel):
        await begin(channel)
        assert "cellwire-lease" not in {thread.name for thread in own_threads()}


async def test_the_writes_of_one_daemon_have_no_releases(config: Config) -> None:
    from tests.server.rpc.durable import LastingStore

    store = LastingStore()
    async with serving(config, store) as (_, channel):
        await begin(channel)
    assert not any(isinstance(write, Release) for write in store.writes)
