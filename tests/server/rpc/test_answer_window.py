"""A stream that does not get its answers is read no further."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
from grpc import aio
from tests.server.rpc.conftest import Stream, holding_up, idle, running, until

from cellwire.server.host.config import Config
from cellwire.server.rpc.answer_window import AnswerWindow
from cellwire.server.session.operation_queue import Limits
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub


async def test_a_full_window_waits_for_an_answer() -> None:
    window = AnswerWindow(2)
    window.leave()  # of an operation it never counted
    await window.enter()
    await window.enter()
    third = asyncio.create_task(window.enter())
    await asyncio.sleep(0)
    assert not third.done()
    window.leave()
    await third
    fourth = asyncio.create_task(window.enter())
    await asyncio.sleep(0)
    assert not fourth.done()
    fourth.cancel()


async def test_the_window_is_twice_what_may_wait_in_a_session(model: Path) -> None:
    config = Config(
        listen="127.0.0.1:0",
        models=(model,),
        sessions=2,
        threads=1,
        limits=Limits(waiting_operations=3),
    )
    async with running(config) as daemon, aio.insecure_channel(daemon.address) as channel:
        stream = Stream(GenerationServiceStub(channel).StreamSession())
        await stream.open()
        (served,) = daemon.generation.streams
        (tiny,) = daemon.registry
        with holding_up(tiny):
            for operation_id in range(1, 20):
                await stream.send(operation_id, append={"text": "a"})
            await until(lambda: served.window.unanswered == 6)
            await asyncio.sleep(0.05)
            assert served.window.unanswered == 6
        answers = [await stream.receive() for _ in range(19)]
        assert sorted(answer.operation_id for answer in answers) == list(range(1, 20))
        full = [a.rejected.status.code for a in answers if a.HasField("rejected")]
        assert set(full) <= {grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
        await idle(daemon)
